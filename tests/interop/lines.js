// A parser of lines that end with CRLF, as a program, with one fault: `node lines.js FAULT` ("none" for no fault).

const fault = process.argv[2]

class Lines {
  constructor(limit) {
    this.data = Buffer.alloc(0)
    this.error = null
    this.wants = "data"
    this.limit = limit
  }

  receive(data) {
    const events = []
    if (fault === "utf-8") data = Buffer.from(data.toString("utf8")) // a character may be in two chunks
    this.data = Buffer.concat([this.data, data])
    while (this.wants === "data") {
      const end = this.data.indexOf("\n")
      const size = end < 0 ? this.data.length : end
      if (size > this.limit && fault !== "no bound") this.fail("too long")
      else if (end < 0) break
      else if (this.data[end - 1] !== 13) this.fail("LF without CR")
      else {
        const text = this.data.toString(fault === "utf-8" ? "utf8" : "latin1", 0, end - 1)
        if (fault === "crash" && text === "") null.length
        if (fault === "junk" && text.startsWith("Host")) console.log("found a host")
        events.push({ type: "Line", text })
        this.data = this.data.subarray(end + 1)
      }
    }
    if (fault === "crlf" && this.data[this.data.length - 1] === 13) this.data = this.data.subarray(0, -1)
    return fault === "loses events" && this.error ? [] : events
  }

  end() {
    if (fault === "hangs at eof") return []
    if (this.data.length) this.fail("cut short")
    this.wants = "closed"
    return []
  }

  fail(error) {
    this.error = error
    this.wants = "closed"
  }
}

let parser
require("readline").createInterface({ input: process.stdin }).on("line", line => {
  const op = JSON.parse(line)
  let events = []
  if (op.op === "new") parser = new Lines(op.limit)
  else if (parser.wants === "data") events = op.op === "data" ? parser.receive(Buffer.from(op.hex, "hex")) : parser.end()
  else if (fault === "forgets") parser.error = null
  if (fault === "no answer" && parser.data.length) return // the next line is answered again
  const answer = { events, error: parser.error, wants: parser.wants, buffered: parser.data.length }
  process.stdout.write(JSON.stringify(answer) + "\n")
})
