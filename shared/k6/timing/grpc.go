package timing

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/reflect/protoreflect"

	"study/k6/clock"
)

// grpcRequest is an encoded call, unary or server-streaming.
type grpcRequest struct {
	target  string
	header  []hpack.HeaderField
	message []byte // with its prefix
	answer  protoreflect.MessageDescriptor
	stream  bool
}

// callHeader is what each call of a request begins with. Metadata whose name ends in "-bin" travels in base64.
func callHeader(target, method string, metadata [][2]string) []hpack.HeaderField {
	header := []hpack.HeaderField{
		{Name: ":method", Value: "POST"},
		{Name: ":scheme", Value: "http"},
		{Name: ":path", Value: method},
		{Name: ":authority", Value: target},
		{Name: "content-type", Value: "application/grpc"},
		{Name: "user-agent", Value: "k6"},
		{Name: "te", Value: "trailers"},
	}
	for _, pair := range metadata {
		name, value := strings.ToLower(pair[0]), pair[1]
		if strings.HasSuffix(name, "-bin") {
			value = base64.RawStdEncoding.EncodeToString([]byte(value))
		}
		header = append(header, hpack.HeaderField{Name: name, Value: value})
	}
	return header
}

// prefixed is a message as it travels: not compressed, its length, itself.
func prefixed(message []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
}

func (r *grpcRequest) send(ctx context.Context, c *connections, x *exchange) {
	x.message, x.stream = r.answer, r.stream
	call := &grpcCall{x: x, answer: x.add}
	if !r.stream {
		call.answer = func(message []byte, _ int64) { x.body, x.bytes = message, int64(len(message)) }
	}
	x.sent = clock.Now()
	err := r.converse(ctx, c, call)
	if errors.Is(err, errUnprocessed) && ctx.Err() == nil {
		err = r.converse(ctx, c, call)
	}
	if err == nil && call.code == codes.OK && !r.stream && x.body == nil {
		err = errors.New("the answer has no message")
	}
	if err != nil || call.code != codes.OK && expired(ctx) { // the server keeps the same deadline
		x.fail(ctx, err, c.timeout)
	} else if x.status = int(call.code); call.code != codes.OK {
		x.fault = oneLine(fmt.Sprintf("gRPC %d %s: %s", call.code, call.code, call.said))
	}
}

// converse makes the call on this user's own connection to the target, which it opens if there is none.
func (r *grpcRequest) converse(ctx context.Context, c *connections, call *grpcCall) error {
	channel, open := c.channels[r.target]
	if !open {
		start := clock.Now()
		var err error
		if channel, err = openChannel(ctx, r.target); err != nil {
			return err
		}
		call.x.connect = clock.Now() - start
		c.channels[r.target] = channel
	}
	err := channel.ask(ctx, r, call)
	if err != nil {
		_ = channel.conn.Close()
		delete(c.channels, r.target)
	}
	return err
}
