package timing

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/reflect/protoreflect"

	"study/k6/clock"
)

// messagePrefix is the bytes before a gRPC message: compressed or not, and its length.
const messagePrefix = 5

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

// grpcCall is the answer to a call, as far as it is there.
type grpcCall struct {
	x       *exchange
	answer  func(message []byte, at int64)
	prefix  []byte // of the message that comes next, until it is whole
	message []byte // its capacity is the length that the prefix told
	ended   bool   // the status is there
	code    codes.Code
	said    string
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

// headers takes the answer's head, its trailer, or both in one.
func (c *grpcCall) headers(f *http2.MetaHeadersFrame, at int64) error {
	if c.x.first == 0 {
		c.x.first = at
		kind := field(f, "content-type")
		if status := f.PseudoValue("status"); status != "200" || !strings.HasPrefix(kind, "application/grpc") {
			return fmt.Errorf("no gRPC: HTTP %s, content type %q", status, kind)
		}
	}
	if !f.StreamEnded() {
		return nil
	}
	code, err := strconv.ParseUint(field(f, "grpc-status"), 10, 32)
	if err != nil {
		return errors.New("the answer ended without a gRPC status")
	}
	c.x.done, c.ended, c.code, c.said = at, true, codes.Code(code), field(f, "grpc-message")
	if plain, err := url.PathUnescape(c.said); err == nil {
		c.said = plain
	}
	if len(c.prefix) > 0 {
		return errors.New("the answer ended within a message")
	}
	return nil
}

func field(f *http2.MetaHeadersFrame, name string) string {
	for _, h := range f.RegularFields() {
		if h.Name == name {
			return h.Value
		}
	}
	return ""
}

// data takes a part of the answer; messages and frames need not begin together.
func (c *grpcCall) data(f *http2.DataFrame, at int64) error {
	if c.x.first == 0 {
		return errors.New("no gRPC: data before the headers")
	}
	for part := f.Data(); len(part) > 0; {
		if missing := messagePrefix - len(c.prefix); missing > 0 {
			n := min(missing, len(part))
			c.prefix, part = append(c.prefix, part[:n]...), part[n:]
			if n < missing {
				break
			}
			length := binary.BigEndian.Uint32(c.prefix[1:])
			if c.prefix[0] != 0 {
				return errors.New("the answer is compressed, which was not asked for")
			}
			if c.x.bytes+int64(length) > maxAnswer {
				return fmt.Errorf("the answer is larger than %d bytes", maxAnswer)
			}
			c.message = make([]byte, 0, length)
		}
		n := min(cap(c.message)-len(c.message), len(part))
		c.message, part = append(c.message, part[:n]...), part[n:]
		if len(c.message) == cap(c.message) {
			c.answer(c.message, at)
			c.prefix, c.message = c.prefix[:0], nil
		}
	}
	if f.StreamEnded() {
		return errors.New("the answer ended without a gRPC status")
	}
	return nil
}
