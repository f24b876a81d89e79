package timing

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"study/k6/clock"
)

const (
	largestWindow = 1<<31 - 1 // of flow control: no answer then waits for this client to allow it
	maxHeaders    = 1 << 20
)

// errUnprocessed: the server closes this connection and has not begun the call, which may thus be made on another one.
var errUnprocessed = errors.New("the server took no more calls on this connection")

// channel is a user's own HTTP/2 connection for gRPC, with one call at a time.
//
// The goroutine that makes a call reads the connection itself. A client for many calls has a reader that hands each
// message over, so that a stamp waits until a second goroutine runs: about a millisecond at 10,000 messages a second.
// See https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md and RFC 9113.
type channel struct {
	conn    net.Conn
	reader  *bufio.Reader
	writer  *bufio.Writer
	framer  *http2.Framer
	encoder *hpack.Encoder
	block   bytes.Buffer // what encoder writes to

	greeted   bool   // the server's settings are there
	closing   bool   // the server takes no further calls here
	id, next  uint32 // of the newest call, and of the one after it
	taken     int64  // bytes read, not yet given back to the connection's window
	frameSize int    // the largest that the server accepts
	window    int64  // bytes that the server accepts on the connection
	perCall   int64  // … and on a new call
	callLeft  int64  // … and on this call

	call *grpcCall // nil between calls
}

// openChannel connects and exchanges settings, so that the first call finds a connection that is ready.
func openChannel(ctx context.Context, target string) (*channel, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", target)
	if err != nil {
		return nil, err
	}
	h := &channel{
		conn: conn, reader: bufio.NewReaderSize(conn, 64<<10), writer: bufio.NewWriterSize(conn, 64<<10),
		next: 1, frameSize: 16 << 10, window: 65535, perCall: 65535,
	}
	h.framer = http2.NewFramer(h.writer, h.reader)
	h.framer.SetReuseFrames()
	h.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	h.framer.MaxHeaderListSize = maxHeaders
	h.encoder = hpack.NewEncoder(&h.block)
	defer h.until(ctx)()
	if err := h.greet(); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return h, nil
}

func (h *channel) greet() error {
	_, err := h.writer.WriteString(http2.ClientPreface)
	if err == nil {
		err = h.framer.WriteSettings(
			http2.Setting{ID: http2.SettingEnablePush, Val: 0},
			http2.Setting{ID: http2.SettingInitialWindowSize, Val: largestWindow},
		)
	}
	if err == nil {
		err = h.framer.WriteWindowUpdate(0, largestWindow-65535)
	}
	if err == nil {
		err = h.writer.Flush()
	}
	for err == nil && !h.greeted {
		err = h.read()
	}
	return err
}

// until ends the reads and writes of this connection with ctx; what it returns ends that.
func (h *channel) until(ctx context.Context) func() bool {
	return context.AfterFunc(ctx, func() { _ = h.conn.SetDeadline(time.Unix(1, 0)) })
}

// ask makes a call and returns when its status is there: in `call`, and each message to call.answer as it comes. After an
// error the channel is of no more use.
func (h *channel) ask(ctx context.Context, r *grpcRequest, call *grpcCall) error {
	stop := h.until(ctx)
	defer stop()
	if err := h.catchUp(); err != nil {
		return fmt.Errorf("%w: %w", errUnprocessed, err) // it was closed while nobody asked
	}
	if h.closing {
		return errUnprocessed
	}
	h.id, h.next = h.next, h.next+2
	h.call, h.callLeft = call, h.perCall
	defer func() { h.call = nil }()
	if err := h.writeHeaders(ctx, r); err != nil {
		return err
	}
	whole, err := h.writeMessage(r.message)
	for err == nil && !call.ended {
		err = h.read()
	}
	if err == nil && !whole { // a status that did not wait for the whole request
		err = h.framer.WriteRSTStream(h.id, http2.ErrCodeCancel)
	}
	if err == nil && h.taken > largestWindow/2 {
		err = h.framer.WriteWindowUpdate(0, uint32(h.taken))
		h.taken = 0
	}
	if err == nil && h.writer.Buffered() > 0 {
		err = h.writer.Flush()
	}
	return err
}

// catchUp reads what came since the last call: nobody has listened since.
func (h *channel) catchUp() error {
	for {
		if h.reader.Buffered() == 0 {
			if there, err := h.peek(); err != nil || !there {
				return err
			}
		}
		if err := h.read(); err != nil {
			return err
		}
	}
}

// peek tells whether a byte waits to be read; its error is the connection's end.
func (h *channel) peek() (there bool, err error) {
	raw, err := h.conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return false, err
	}
	var (
		one  [1]byte
		n    int
		fail error
	)
	err = raw.Read(func(fd uintptr) bool {
		n, _, fail = syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return true
	})
	switch {
	case err != nil:
		return false, err
	case errors.Is(fail, syscall.EAGAIN), errors.Is(fail, syscall.EINTR):
		return false, nil
	case fail != nil:
		return false, os.NewSyscallError("recvfrom", fail)
	case n == 0:
		return false, errors.New("the server closed the connection")
	}
	return true, nil
}

func (h *channel) writeHeaders(ctx context.Context, r *grpcRequest) error {
	h.block.Reset()
	for _, field := range r.header {
		if err := h.encoder.WriteField(field); err != nil {
			return err
		}
	}
	if deadline, limited := ctx.Deadline(); limited {
		left := max(time.Until(deadline).Milliseconds(), 0) + 1 // never before this client's own
		field := hpack.HeaderField{Name: "grpc-timeout", Value: strconv.FormatInt(left, 10) + "m"}
		if err := h.encoder.WriteField(field); err != nil {
			return err
		}
	}
	part := h.block.Next(h.frameSize)
	err := h.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: h.id, BlockFragment: part, EndHeaders: h.block.Len() == 0,
	})
	for err == nil && h.block.Len() > 0 {
		part = h.block.Next(h.frameSize)
		err = h.framer.WriteContinuation(h.id, h.block.Len() == 0, part)
	}
	return err
}

// writeMessage sends as fast as the server allows, and reads while it doesn't; not to its end if the status comes first.
func (h *channel) writeMessage(message []byte) (whole bool, err error) {
	for !h.call.ended {
		n := min(int64(len(message)), int64(h.frameSize), h.window, h.callLeft)
		if n <= 0 {
			if err := h.writer.Flush(); err != nil {
				return false, err
			}
			if err := h.read(); err != nil {
				return false, err
			}
			continue
		}
		part := message[:n]
		message = message[n:]
		if err := h.framer.WriteData(h.id, len(message) == 0, part); err != nil {
			return false, err
		}
		h.window -= n
		h.callLeft -= n
		if len(message) == 0 {
			return true, h.writer.Flush()
		}
	}
	return false, nil
}

// read takes one frame in.
func (h *channel) read() error {
	frame, err := h.framer.ReadFrame()
	if err != nil {
		return err
	}
	at := clock.Now()
	mine := h.call != nil && frame.Header().StreamID == h.id
	switch f := frame.(type) {
	case *http2.MetaHeadersFrame:
		if mine {
			return h.call.headers(f, at)
		}
	case *http2.DataFrame:
		h.taken += int64(f.Length)
		if mine {
			return h.call.data(f, at)
		}
	case *http2.SettingsFrame:
		return h.settings(f)
	case *http2.PingFrame:
		if !f.IsAck() {
			if err := h.framer.WritePing(true, f.Data); err != nil {
				return err
			}
			return h.writer.Flush()
		}
	case *http2.WindowUpdateFrame:
		if f.StreamID == 0 {
			h.window += int64(f.Increment)
		} else if mine {
			h.callLeft += int64(f.Increment)
		}
	case *http2.RSTStreamFrame:
		if mine && f.ErrCode == http2.ErrCodeRefusedStream {
			return errUnprocessed
		} else if mine && !h.call.ended {
			return fmt.Errorf("the server broke the call off: HTTP/2 %v", f.ErrCode)
		}
	case *http2.GoAwayFrame:
		h.closing = true
		if h.call != nil && f.LastStreamID < h.id {
			return errUnprocessed
		}
	}
	return nil
}

func (h *channel) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	h.greeted = true
	for i := range f.NumSettings() {
		switch s := f.Setting(i); s.ID {
		case http2.SettingInitialWindowSize:
			h.callLeft += int64(s.Val) - h.perCall
			h.perCall = int64(s.Val)
		case http2.SettingMaxFrameSize:
			h.frameSize = int(s.Val)
		case http2.SettingHeaderTableSize:
			h.encoder.SetMaxDynamicTableSizeLimit(s.Val)
		}
	}
	if err := h.framer.WriteSettingsAck(); err != nil {
		return err
	}
	return h.writer.Flush()
}
