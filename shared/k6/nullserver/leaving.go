package nullserver

import (
	"bytes"
	"encoding/binary"
	"net"

	"golang.org/x/net/http2"
)

const (
	frameHeader   = 9 // bytes before an HTTP/2 frame's payload; the first three are its length
	messagePrefix = 5 // bytes before a gRPC message: compressed or not, and its length
)

// leavingListener accepts connections that tell which gRPC messages they are about to write.
type leavingListener struct {
	net.Listener
	leaving func(message []byte) error
}

func (l leavingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return newLeavingConn(conn, l.leaving), nil
}

// leavingConn calls `leaving` with each message just before the write that completes it. A handler can't note that
// time itself: grpc-go queues what it sends, and another goroutine writes it, later.
type leavingConn struct {
	net.Conn
	leaving func(message []byte) error
	framer  *http2.Framer     // reads unread
	unread  bytes.Buffer      // what is written, from the last frame whose end is not there yet
	begun   map[uint32][]byte // by stream: a message whose end is not there yet
}

func newLeavingConn(conn net.Conn, leaving func(message []byte) error) *leavingConn {
	c := &leavingConn{Conn: conn, leaving: leaving, begun: map[uint32][]byte{}}
	c.framer = http2.NewFramer(nil, &c.unread)
	return c
}

func (c *leavingConn) Write(b []byte) (int, error) {
	c.unread.Write(b)
	for c.hasFrame() {
		frame, err := c.framer.ReadFrame()
		if err != nil {
			return 0, err
		}
		if data, ok := frame.(*http2.DataFrame); ok {
			if err := c.take(data); err != nil {
				return 0, err
			}
		}
	}
	return c.Conn.Write(b)
}

func (c *leavingConn) hasFrame() bool {
	head := c.unread.Bytes()
	return len(head) >= frameHeader && len(head) >= frameHeader+(int(head[0])<<16|int(head[1])<<8|int(head[2]))
}

func (c *leavingConn) take(data *http2.DataFrame) error {
	rest := append(c.begun[data.StreamID], data.Data()...)
	delete(c.begun, data.StreamID)
	for len(rest) >= messagePrefix {
		end := messagePrefix + int(binary.BigEndian.Uint32(rest[1:]))
		if len(rest) < end {
			break
		}
		if err := c.leaving(rest[messagePrefix:end]); err != nil {
			return err
		}
		rest = rest[end:]
	}
	if len(rest) > 0 {
		c.begun[data.StreamID] = rest
	}
	return nil
}
