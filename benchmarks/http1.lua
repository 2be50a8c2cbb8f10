-- What wrk runs for benchmarks/http1.py. Two things that its options cannot do: a request whose head differs each time,
-- for the scene "varied", and a last line of JSON, so that nobody has to parse a report meant for people.

local n = 0

local function varied()
   n = n + 1
   wrk.headers["X-Request-ID"] = n
   return wrk.format(nil, "/hello?n=" .. n)
end

function init(args)
   -- Global only where it is wanted: when wrk finds a `request` it calls it each time, else it sends constant bytes.
   if args[1] == "varied" then request = varied end
end

function done(summary, latency)
   local e = summary.errors
   print(string.format(
      '{"rate": %f, "p50": %f, "p99": %f, "errors": %d}',
      summary.requests / summary.duration * 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
      e.connect + e.read + e.write + e.status + e.timeout))
end
