package timing

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// neverAnswered is the status of a request whose answer did not come, or not whole.
const neverAnswered = -1

// request is one encoded request. It is shared by all users, so sending must not change it.
type request interface {
	// send does the whole exchange over the user's connections and takes every stamp in x.
	send(ctx context.Context, c *connections, x *exchange)
}

// exchange is one request's record and, until it is checked, its answer.
type exchange struct {
	record
	headers http.Header
	body    []byte                         // the whole answer, where nothing streams
	stream  bool                           // the answer is `frames`
	frames  [][]byte                       // one a chunk, with its stamp in `stamps`
	stamps  []int64                        // of all chunks; record.chunks has those that carry text
	message protoreflect.MessageDescriptor // of gRPC answers
}

// add keeps a chunk that arrived at the stamp `at`.
func (x *exchange) add(frame []byte, at int64) {
	x.frames = append(x.frames, frame)
	x.stamps = append(x.stamps, at)
	x.bytes += int64(len(frame))
}

// fail marks a request that was not (wholly) answered: no done stamp, and the reason in words.
func (x *exchange) fail(ctx context.Context, err error, timeout float64) {
	x.status, x.done = neverAnswered, 0
	switch {
	case expired(ctx):
		x.fault = fmt.Sprintf("timeout after %g s", timeout)
	case ctx.Err() != nil:
		x.fault = "interrupted"
	default:
		x.fault = oneLine(err.Error())
	}
}

// expired tells whether the request's deadline has passed. The context learns it from a timer, which a server that
// keeps the same deadline can beat with its own reset; the clock is right in both cases.
func expired(ctx context.Context) bool {
	deadline, limited := ctx.Deadline()
	return limited && !time.Now().Before(deadline)
}

// connections are one user's own: kept open and reused, unless the plan wants new ones.
type connections struct {
	transport *http.Transport
	channels  map[string]*channel
	sockets   map[string]*websocket.Conn
	buffer    []byte // what streams are read into
	timeout   float64
}

func newConnections(plan *Plan) *connections {
	return &connections{
		transport: newTransport(plan.NewConnections),
		channels:  map[string]*channel{},
		sockets:   map[string]*websocket.Conn{},
		buffer:    make([]byte, 64<<10),
		timeout:   plan.TimeoutS,
	}
}

func (c *connections) close() {
	c.transport.CloseIdleConnections()
	for target, channel := range c.channels {
		_ = channel.conn.Close()
		delete(c.channels, target)
	}
	for url, socket := range c.sockets {
		_ = socket.Close()
		delete(c.sockets, url)
	}
}
