package timing

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
)

const header = "vu,slot,payloads,intended_ns,sent_ns,first_ns,done_ns,connect_ns,chunk_ns,chunk_tokens," +
	"status,ok,units,bytes,error\n"

const errorLimit = 300 // bytes of an error that are kept

// record is one request as shared/README.md describes the raw record; a stamp of 0 never happened.
type record struct {
	vu, slot                    int64
	payloads                    []int
	intended, sent, first, done int64
	connect                     int64
	chunks                      []int64
	tokens                      []int64
	status                      int
	ok                          bool
	units                       float64
	bytes                       int64
	fault                       string
}

// recorder formats and writes records in a goroutine of its own, off the measured path.
type recorder struct {
	queue chan *record
	done  chan error
}

func newRecorder(path string) (*recorder, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("records: %w", err)
	}
	r := &recorder{make(chan *record, 1<<14), make(chan error, 1)}
	go func() { r.done <- r.write(file) }()
	return r, nil
}

func (r *recorder) put(x *record) { r.queue <- x }

// close puts everything on the disk: nothing recorded is lost after it has returned nil.
func (r *recorder) close() error {
	close(r.queue)
	return <-r.done
}

func (r *recorder) write(file *os.File) error {
	buffer := bufio.NewWriterSize(file, 1<<20)
	_, err := buffer.WriteString(header)
	var line []byte
	for x := range r.queue {
		if err == nil { // a full disk is told at the end; the queue must still be emptied
			line = x.append(line[:0])
			_, err = buffer.Write(line)
		}
		if len(r.queue) == 0 && err == nil && buffer.Buffered() > 1<<16 {
			err = buffer.Flush()
		}
	}
	if err == nil {
		err = buffer.Flush()
	}
	if err == nil {
		err = file.Sync()
	}
	if closing := file.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return fmt.Errorf("records: %w", err)
	}
	return nil
}

// append adds the record's CSV line.
func (x *record) append(line []byte) []byte {
	number := func(n int64) { line = append(strconv.AppendInt(line, n, 10), ',') }
	number(x.vu)
	number(x.slot)
	for i, payload := range x.payloads {
		if i > 0 {
			line = append(line, ';')
		}
		line = strconv.AppendInt(line, int64(payload), 10)
	}
	line = append(line, ',')
	number(x.intended)
	number(x.sent)
	number(x.first)
	number(x.done)
	number(x.connect)
	for _, list := range [][]int64{x.chunks, x.tokens} {
		for i, n := range list {
			if i > 0 {
				line = append(line, ';')
			}
			line = strconv.AppendInt(line, n, 10)
		}
		line = append(line, ',')
	}
	number(int64(x.status))
	line = append(strconv.AppendBool(line, x.ok), ',')
	line = append(strconv.AppendFloat(line, x.units, 'g', -1, 64), ',')
	number(x.bytes)
	return append(appendQuoted(line, x.fault), '\n')
}

func appendQuoted(line []byte, text string) []byte {
	if text == "" {
		return line
	}
	return append(append(append(line, '"'), strings.ReplaceAll(text, `"`, `""`)...), '"')
}

// oneLine makes a text fit for a record: short, valid UTF-8, without line breaks.
func oneLine(text string) string {
	if len(text) > errorLimit {
		text = text[:errorLimit] + "…"
	}
	return strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " ")
}
