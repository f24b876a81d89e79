package nullserver

import (
	"context"
	_ "embed"
	"time"

	"github.com/bufbuild/protocompile"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

//go:embed null.proto
var source string

const maxMessage = 64 << 20

// grpcServer makes s.grpc, which serves null.proto; its messages are dynamic, so that nothing generated has to be kept
// in step.
func (s *Server) grpcServer() (*calls, error) {
	compiler := protocompile.Compiler{Resolver: &protocompile.SourceResolver{
		Accessor: protocompile.SourceAccessorFromMap(map[string]string{"null.proto": source}),
	}}
	files, err := compiler.Compile(context.Background(), "null.proto")
	if err != nil {
		return nil, err
	}
	service := files[0].Services().ByName("Null")
	calls := &calls{s, files[0].Messages().ByName("Ask"), files[0].Messages().ByName("Answer")}
	s.grpc = grpc.NewServer(
		grpc.StatsHandler(numbering{s}), grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage),
	)
	s.grpc.RegisterService(&grpc.ServiceDesc{
		ServiceName: string(service.FullName()),
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{
			MethodName: "Unary",
			Handler: func(_ any, ctx context.Context, read func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				return calls.unary(ctx, read)
			},
		}},
		Streams: []grpc.StreamDesc{{
			StreamName:    "Stream",
			ServerStreams: true,
			Handler:       func(_ any, stream grpc.ServerStream) error { return calls.stream(stream) },
		}},
	}, calls)
	return calls, nil
}

type calls struct {
	server      *Server
	ask, answer protoreflect.MessageDescriptor
}

func (c *calls) unary(ctx context.Context, read func(any) error) (answer any, err error) {
	ask := dynamicpb.NewMessage(c.ask)
	if err := read(ask); err != nil {
		return nil, err
	}
	pace, bytes, err := c.read(ask)
	if err != nil {
		return nil, err
	}
	e, done, err := c.server.begin(ctx, "grpc", bytes)
	defer done()
	if err == nil {
		err = c.server.send(ctx, pace, 1, func(i int) error {
			answer = c.message(e, i)
			return nil
		})
	}
	return answer, err
}

func (c *calls) stream(stream grpc.ServerStream) error {
	ask := dynamicpb.NewMessage(c.ask)
	if err := stream.RecvMsg(ask); err != nil {
		return err
	}
	pace, bytes, err := c.read(ask)
	if err != nil {
		return err
	}
	e, done, err := c.server.begin(stream.Context(), "grpc-stream", bytes)
	defer done()
	if err != nil {
		return err
	}
	return c.server.send(stream.Context(), pace, pace.Chunks, func(i int) error {
		return stream.SendMsg(c.message(e, i))
	})
}

// read is a request's pace and payload size, or the failure it asks for.
func (c *calls) read(ask *dynamicpb.Message) (Pace, int, error) {
	field := func(name protoreflect.Name) protoreflect.Value { return ask.Get(c.ask.Fields().ByName(name)) }
	if code := field("code").Int(); code != 0 {
		return Pace{}, 0, status.Error(codes.Code(code), "told to fail")
	}
	pace := c.server.settings.Pace
	if ms := field("delay_ms").Float(); ms != 0 {
		pace.Delay = time.Duration(ms * float64(time.Millisecond))
	}
	if ms := field("gap_ms").Float(); ms != 0 {
		pace.Gap = time.Duration(ms * float64(time.Millisecond))
	}
	if chunks := field("chunks").Int(); chunks != 0 {
		pace.Chunks = int(chunks)
	}
	return pace, len(field("payload").Bytes()), nil
}

func (c *calls) message(e *Entry, chunk int) *dynamicpb.Message {
	message := dynamicpb.NewMessage(c.answer)
	set := func(name protoreflect.Name, value any) {
		message.Set(c.answer.Fields().ByName(name), protoreflect.ValueOf(value))
	}
	set("request", e.Request)
	set("chunk", int32(chunk))
	set("text", "word ")
	set("received_bytes", int64(e.Bytes))
	return message
}

// leaving notes when an answer is written.
func (c *calls) leaving(message []byte) error {
	answer := dynamicpb.NewMessage(c.answer)
	if err := proto.Unmarshal(message, answer); err != nil {
		return err
	}
	c.server.Log.sent(answer.Get(c.answer.Fields().ByName("request")).Int())
	return nil
}

// numbering numbers connections.
type numbering struct{ server *Server }

func (n numbering) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context {
	return n.server.numbered(ctx)
}

func (numbering) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }
func (numbering) HandleConn(context.Context, stats.ConnStats)                     {}
func (numbering) HandleRPC(context.Context, stats.RPCStats)                       {}
