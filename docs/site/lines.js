// A link to lines of a file, such as http1.py.html#L343-L360, shows these lines marked, as a repository page does.
function markLines() {
  for (const line of document.querySelectorAll(".marked-line")) line.classList.remove("marked-line");
  const range = location.hash.match(/^#L(\d+)(?:-L(\d+))?$/);
  if (!range) return;
  const first = Number(range[1]);
  for (let number = first; number <= Number(range[2] || first); number++) {
    document.getElementById(`__span-0-${number}`)?.classList.add("marked-line");
  }
  document.getElementById(`__span-0-${Math.max(1, first - 3)}`)?.scrollIntoView();
}
addEventListener("hashchange", markLines);
addEventListener("DOMContentLoaded", markLines);
