package timing

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"study/k6/clock"
)

// readEvents reads a stream of server-sent events to its end. Each read is stamped when it returns, before
// it is parsed; an event has the stamp of the read that completed it.
func (x *exchange) readEvents(body io.Reader, buffer []byte) error {
	x.stream = true
	var parser eventParser
	for {
		n, err := body.Read(buffer)
		at := clock.Now()
		parser.feed(buffer[:n], func(data []byte) { x.add(data, at) })
		switch {
		case errors.Is(err, io.EOF):
			x.done = at
			return nil
		case err != nil:
			return err
		case x.bytes > maxAnswer || len(parser.line) > maxAnswer:
			return fmt.Errorf("the answer is larger than %d bytes", maxAnswer)
		}
	}
}

// eventParser cuts a byte stream into the data of its events, as the HTML standard says (9.2.6): lines end with CR, LF
// or CRLF, "data" lines are joined by LF, an empty line ends an event, an event without data is none.
type eventParser struct {
	line    []byte // the line so far
	data    []byte
	hasData bool
	skipLF  bool // the last byte was a CR: an LF now belongs to it
}

// feed parses the next bytes and calls `event` with a copy of each completed event's data.
func (p *eventParser) feed(input []byte, event func(data []byte)) {
	for len(input) > 0 {
		if p.skipLF {
			p.skipLF = false
			if input[0] == '\n' {
				input = input[1:]
				continue
			}
		}
		end := bytes.IndexAny(input, "\r\n")
		if end < 0 {
			p.line = append(p.line, input...)
			return
		}
		p.line = append(p.line, input[:end]...)
		p.skipLF = input[end] == '\r'
		input = input[end+1:]
		p.endLine(event)
		p.line = p.line[:0]
	}
}

func (p *eventParser) endLine(event func(data []byte)) {
	if len(p.line) == 0 {
		if p.hasData {
			event(bytes.Clone(p.data))
		}
		p.data, p.hasData = p.data[:0], false
		return
	}
	name, value, _ := bytes.Cut(p.line, []byte(":"))
	if string(name) != "data" {
		return // event, id, retry and comments carry no text
	}
	if p.hasData {
		p.data = append(p.data, '\n')
	}
	p.data = append(p.data, bytes.TrimPrefix(value, []byte(" "))...)
	p.hasData = true
}
