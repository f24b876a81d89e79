package nullserver

import (
	"encoding/json"
	"slices"
	"sync"

	"study/k6/clock"
)

// Entry is what the server did for one request; times are CLOCK_MONOTONIC ns.
type Entry struct {
	Request    int64   `json:"request"` // counted from 1; every answer carries it
	Protocol   string  `json:"protocol"`
	Connection int64   `json:"connection"`
	Bytes      int     `json:"bytes"`
	ReceivedNs int64   `json:"received_ns"` // the request was wholly read
	SentNs     []int64 `json:"sent_ns"`     // just before each chunk (or the one answer) was written
}

// Log is what the server did, in the order in which requests came.
type Log struct {
	lock    sync.Mutex
	entries []*Entry
}

func (l *Log) add(protocol string, connection int64, bytes int) *Entry {
	l.lock.Lock()
	defer l.lock.Unlock()
	e := &Entry{
		Request: int64(len(l.entries)) + 1, Protocol: protocol, Connection: connection,
		Bytes: bytes, ReceivedNs: clock.Now(),
	}
	l.entries = append(l.entries, e)
	return e
}

// sent notes that a chunk of that request's answer leaves now.
func (l *Log) sent(request int64) {
	l.lock.Lock()
	defer l.lock.Unlock()
	e := l.entries[request-1]
	e.SentNs = append(e.SentNs, clock.Now())
}

// Entries is a copy of the log so far.
func (l *Log) Entries() []Entry {
	l.lock.Lock()
	defer l.lock.Unlock()
	entries := make([]Entry, len(l.entries))
	for i, e := range l.entries {
		entries[i] = *e
		entries[i].SentNs = slices.Clone(e.SentNs)
	}
	return entries
}

// JSON is the log as `{"requests": […]}`.
func (l *Log) JSON() ([]byte, error) {
	return json.Marshal(map[string][]Entry{"requests": l.Entries()})
}
