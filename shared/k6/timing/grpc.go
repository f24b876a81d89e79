package timing

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"

	"study/k6/clock"
)

// grpcRequest is an encoded call, unary or server-streaming.
type grpcRequest struct {
	target   string
	method   string // /package.Service/Method
	message  []byte
	metadata metadata.MD
	answer   protoreflect.MessageDescriptor
	stream   bool
}

func (r *grpcRequest) send(ctx context.Context, c *connections, x *exchange) {
	x.message, x.stream = r.answer, r.stream
	seen := &grpcTrace{}
	call := metadata.NewOutgoingContext(context.WithValue(ctx, traceKey{}, seen), r.metadata)
	x.sent = clock.Now()
	channel, err := c.channel(r.target)
	if err == nil {
		x.connect = awaitConnection(ctx, channel)
		if r.stream {
			err = r.receive(call, channel, x)
		} else {
			err = channel.Invoke(call, r.method, r.message, &x.body)
			x.done = clock.Now()
			x.bytes = int64(len(x.body))
		}
	}
	x.first = seen.first.at.Load()
	x.status = int(status.Code(err))
	if err == nil {
		return
	}
	if ctx.Err() != nil || expired(ctx) || !seen.answered.Load() {
		x.fail(ctx, err, c.timeout) // a code that this client made up is no answer
		return
	}
	said := status.Convert(err)
	x.fault = oneLine(fmt.Sprintf("gRPC %d %s: %s", said.Code(), codes.Code(said.Code()), said.Message()))
}

// receive reads a stream; a chunk's stamp is taken when its whole message is there, still encoded.
func (r *grpcRequest) receive(ctx context.Context, channel *grpc.ClientConn, x *exchange) error {
	stream, err := channel.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, r.method)
	if err != nil {
		return err
	}
	if err := stream.SendMsg(r.message); err != nil && !errors.Is(err, io.EOF) {
		return err // after an EOF, RecvMsg tells the status
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	for {
		var frame []byte
		err := stream.RecvMsg(&frame)
		at := clock.Now()
		if err != nil {
			x.done = at
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		x.add(frame, at)
	}
}

// channel is this user's own connection to the target.
func (c *connections) channel(target string) (*grpc.ClientConn, error) {
	if channel, ok := c.channels[target]; ok {
		return channel, nil
	}
	channel, err := grpc.NewClient("passthrough:///"+target,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithStatsHandler(statsHandler{}),
		grpc.WithNoProxy(), grpc.WithDisableRetry(), grpc.WithDisableServiceConfig(),
		// Fixed windows: estimating them would send pings while a request is timed.
		grpc.WithInitialWindowSize(4<<20), grpc.WithInitialConnWindowSize(4<<20),
		grpc.WithDefaultCallOptions(
			grpc.ForceCodecV2(rawCodec{}),
			grpc.MaxCallRecvMsgSize(maxAnswer), grpc.MaxCallSendMsgSize(maxAnswer),
		),
	)
	if err != nil {
		return nil, fmt.Errorf("gRPC target %q: %w", target, err)
	}
	c.channels[target] = channel
	return channel, nil
}

// awaitConnection opens the connection if it is not open; it returns how long that took in ns, 0 if it was open.
func awaitConnection(ctx context.Context, channel *grpc.ClientConn) int64 {
	state := channel.GetState()
	if state == connectivity.Ready {
		return 0
	}
	start := clock.Now()
	if state == connectivity.TransientFailure {
		channel.ResetConnectBackoff() // a server that is back is found at once
		bounded, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		channel.WaitForStateChange(bounded, state)
		state = channel.GetState()
	}
	channel.Connect()
	for state != connectivity.Ready && state != connectivity.TransientFailure {
		if !channel.WaitForStateChange(ctx, state) {
			break
		}
		state = channel.GetState()
	}
	return clock.Now() - start
}

// rawCodec passes messages through as they are: encoding happens before the run, decoding after the stamp.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(message any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(message.([]byte))}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, message any) error {
	*message.(*[]byte) = data.Materialize()
	return nil
}

type traceKey struct{}

// grpcTrace is what the connection's reader saw of one call.
type grpcTrace struct {
	first    firstByte
	answered atomic.Bool
}

// statsHandler stamps a call's response headers, the first bytes of its answer, as the connection's reader meets them.
type statsHandler struct{}

func (statsHandler) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

func (statsHandler) HandleRPC(ctx context.Context, event stats.RPCStats) {
	switch event.(type) {
	case *stats.InHeader, *stats.InTrailer: // an answer that is only a status has no header
		if seen, ok := ctx.Value(traceKey{}).(*grpcTrace); ok {
			seen.first.stamp()
			seen.answered.Store(true)
		}
	}
}

func (statsHandler) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

func (statsHandler) HandleConn(context.Context, stats.ConnStats) {}
