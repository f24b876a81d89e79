package timing

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/gorilla/websocket"

	"study/k6/clock"
)

// wsRequest is one message over a WebSocket; the frame that contains `until` ends the answer.
type wsRequest struct {
	url     string
	message []byte
	binary  bool
	until   []byte
}

func (r *wsRequest) send(ctx context.Context, c *connections, x *exchange) {
	x.stream = true
	x.sent = clock.Now()
	err := r.converse(ctx, c, x)
	if err == nil {
		return
	}
	if socket, ok := c.sockets[r.url]; ok { // what comes late must not be taken for the next answer
		_ = socket.Close()
		delete(c.sockets, r.url)
	}
	x.fail(ctx, err, c.timeout)
}

func (r *wsRequest) converse(ctx context.Context, c *connections, x *exchange) error {
	socket, err := c.socket(ctx, r.url, x)
	if err != nil {
		return err
	}
	// A deadline in the past ends a read at once: that is how ctx reaches this library.
	defer context.AfterFunc(ctx, func() { _ = socket.NetConn().SetDeadline(time.Unix(1, 0)) })()
	kind := websocket.TextMessage
	if r.binary {
		kind = websocket.BinaryMessage
	}
	if err := socket.WriteMessage(kind, r.message); err != nil {
		return err
	}
	x.status = http.StatusSwitchingProtocols
	for {
		_, reader, err := socket.NextReader()
		if err != nil {
			return err
		}
		if x.first == 0 {
			x.first = clock.Now()
		}
		frame, err := io.ReadAll(reader)
		at := clock.Now()
		if err != nil {
			return err
		}
		x.add(frame, at)
		if bytes.Contains(frame, r.until) {
			x.done = at
			return nil
		}
		if x.bytes > maxAnswer {
			return fmt.Errorf("the answer is larger than %d bytes", maxAnswer)
		}
	}
}

// socket is this user's own connection to the URL.
func (c *connections) socket(ctx context.Context, url string, x *exchange) (*websocket.Conn, error) {
	if socket, ok := c.sockets[url]; ok {
		return socket, nil
	}
	start := clock.Now()
	dialer := websocket.Dialer{NetDialContext: (&net.Dialer{}).DialContext, ReadBufferSize: 64 << 10}
	socket, response, err := dialer.DialContext(ctx, url, nil)
	if err != nil {
		if response != nil {
			return nil, fmt.Errorf("no WebSocket: HTTP %d: %w", response.StatusCode, err)
		}
		return nil, err
	}
	x.connect = clock.Now() - start
	socket.SetReadLimit(maxAnswer)
	c.sockets[url] = socket
	return socket, nil
}
