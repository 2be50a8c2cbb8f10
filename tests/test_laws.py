"""The laws, over all cores."""

import pytest

from minproto.testing import Subject, check_law, laws, subjects


@pytest.mark.parametrize("subject", subjects.ALL.values(), ids=subjects.ALL)
@pytest.mark.parametrize("law", laws.RECEIVING_LAWS, ids=lambda law: law.__name__)
def test_receiving(law: laws.Law, subject: Subject) -> None:
    """Laws 2 to 6, on right, damaged and arbitrary streams."""
    check_law(law, subject)
