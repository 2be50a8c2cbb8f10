// A parser of HTTP/1.1 requests, written from docs/laws.md alone. It passes all stages of
//
//     minproto laws --streams http1-request --against minproto -- node examples/laws/http1_request.js

const net = require("net")

const TOKEN = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]+"
const REQUEST_LINE = new RegExp(`^(${TOKEN}) ([\\x21\\x24-\\x3b\\x3d\\x3f-\\x7e]+) HTTP/(1\\.[0-9])$`)
const FIELD = new RegExp(`^(${TOKEN}):([\\t\\x20-\\x7e\\x80-\\xff]*)$`)
const QUOTED = '"(?:[\\t \\x21\\x23-\\x5b\\x5d-\\x7e\\x80-\\xff]|\\\\[\\t \\x21-\\x7e\\x80-\\xff])*"'
const CHUNK = new RegExp(`^([0-9A-Fa-f]{1,16})(?:[\\t ]*;[\\t ]*${TOKEN}(?:[\\t ]*=[\\t ]*(?:${TOKEN}|${QUOTED}))?)*$`)
const HOST = /^(\[[^\]]*\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})*)(?::([0-9]{0,5}))?$/

class Fault extends Error {}

const trim = text => text.replace(/^[ \t]+|[ \t]+$/g, "")
const elements = text => text.toLowerCase().split(",").map(trim).filter(Boolean)

function isHost(text) {
  const found = HOST.exec(text)
  if (!found || Number(found[2] || 0) > 65535) return false
  return found[1][0] !== "[" || net.isIPv6(found[1].slice(1, -1))
}

function checkTarget(method, target) {
  if (method === "CONNECT") {
    const found = /^(.+):([0-9]+)$/.exec(target)
    if (!found || !isHost(target) || Number(found[2]) === 0) throw new Fault("bad target of CONNECT")
  } else if (target[0] !== "/" && !(target === "*" && method === "OPTIONS")) {
    const found = /^[A-Za-z][A-Za-z0-9+\-.]*:\/\/([^/?]+)/.exec(target)
    if (!found || !isHost(found[1]) || found[1][0] === ":") throw new Fault("bad target")
  }
}

class Parser {
  constructor(limit) {
    this.limit = limit
    this.data = Buffer.alloc(0)
    this.error = null
    this.wants = "data"
    this.step = this.requestLine // what comes next: one of the methods below, which returns false if it needs more bytes
    this.events = []
    this.read = 0 // bytes of the head or the trailer section so far
  }

  receiveData(data) {
    if (this.wants === "closed") return []
    this.data = Buffer.concat([this.data, data])
    return this.run(() => { while (this.wants === "data" && this.step()); })
  }

  receiveEof() {
    if (this.wants === "closed") return []
    return this.run(() => {
      if (this.step !== this.requestLine || this.data.length) throw new Fault("the input ends in the middle of a request")
      this.wants = "closed"
    })
  }

  run(work) {
    this.events = []
    try {
      work()
    } catch (fault) {
      if (!(fault instanceof Fault)) throw fault
      this.error = fault.message
      this.wants = "closed"
    }
    return this.events
  }

  // The next line without its CRLF, or null if it is not complete. `room`: the maximum number of bytes of this line.
  line(room) {
    const end = this.data.indexOf("\n")
    if (end + 1 > room || (end < 0 && this.data.length >= room)) throw new Fault("too long")
    if (end < 0) return null
    const text = this.data.toString("latin1", 0, end)
    if (!text.endsWith("\r")) throw new Fault("LF without CR")
    this.data = this.data.subarray(end + 1)
    this.read += end + 1
    return text.slice(0, -1)
  }

  requestLine() {
    this.read = 0
    const text = this.line(this.limit)
    if (!text) return text !== null // an empty line before a request is skipped
    const found = REQUEST_LINE.exec(text)
    if (!found) throw new Fault("malformed request line")
    const [, method, target, version] = found
    checkTarget(method, target)
    this.head = { type: "RequestHead", method, target, version, headers: [] }
    this.fields = this.head.headers
    this.step = this.field
    return true
  }

  field() {
    const text = this.line(this.limit - this.read)
    if (text === null) return false
    if (text === "") return this.endFields()
    const found = FIELD.exec(text)
    if (!found) throw new Fault("malformed field")
    this.fields.push([found[1].toLowerCase(), trim(found[2])])
    return true
  }

  endFields() {
    if (this.fields !== this.head.headers) return this.end(this.fields)
    const all = name => this.fields.filter(field => field[0] === name).map(field => field[1])
    const old = this.head.version === "1.0"
    const [hosts, lengths, codings, options] = ["host", "content-length", "transfer-encoding", "connection"].map(all)
    if (hosts.length > 1 || (!hosts.length && !old) || !hosts.every(isHost)) throw new Fault("bad Host")
    const close = elements(options.join(","))
    this.last = close.includes("close") || (old && !close.includes("keep-alive"))
    this.left = 0
    let chunked = false
    if (codings.length) {
      if (old || lengths.length || elements(codings.join(",")).join() !== "chunked") throw new Fault("bad Transfer-Encoding")
      chunked = true
    } else if (lengths.length) {
      const values = lengths.join(",").split(",").map(trim)
      if (!/^[0-9]{1,18}$/.test(values[0]) || values.some(value => value !== values[0])) throw new Fault("bad Content-Length")
      this.left = BigInt(values[0])
    }
    this.events.push(this.head)
    this.step = chunked ? this.chunkLine : this.content
    return true
  }

  content() {
    if (!this.take()) return false
    return this.end([])
  }

  // Tell the content that has arrived. True if that was all of it.
  take() {
    const data = this.data.subarray(0, BigInt(this.data.length) < this.left ? this.data.length : Number(this.left))
    if (data.length) this.events.push({ type: "Data", data: data.toString("hex") })
    this.data = this.data.subarray(data.length)
    this.left = BigInt(this.left) - BigInt(data.length)
    return this.left === 0n
  }

  chunkLine() {
    const text = this.line(this.limit)
    if (text === null) return false
    const found = CHUNK.exec(text)
    if (!found) throw new Fault("malformed chunk size")
    this.left = BigInt("0x" + found[1])
    this.step = this.chunkData
    if (this.left === 0n) {
      this.fields = []
      this.read = 0
      this.step = this.field
    }
    return true
  }

  chunkData() {
    if (!this.take()) return false
    this.step = this.chunkEnd
    return true
  }

  chunkEnd() {
    const found = this.data.toString("latin1", 0, 2)
    if (!"\r\n".startsWith(found)) throw new Fault("no CRLF after a chunk")
    if (found.length < 2) return false
    this.data = this.data.subarray(2)
    this.step = this.chunkLine
    return true
  }

  end(trailers) {
    this.events.push({ type: "EndOfMessage", trailers })
    this.step = this.requestLine
    if (this.last) this.wants = "closed"
    return true
  }
}

let parser
require("readline").createInterface({ input: process.stdin }).on("line", line => {
  const op = JSON.parse(line)
  let events = []
  if (op.op === "new") parser = new Parser(op.limit)
  else if (op.op === "data") events = parser.receiveData(Buffer.from(op.hex, "hex"))
  else events = parser.receiveEof()
  const answer = { events, error: parser.error, wants: parser.wants, buffered: parser.data.length }
  process.stdout.write(JSON.stringify(answer) + "\n")
})
