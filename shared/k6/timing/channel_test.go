package timing

import (
	"bytes"
	"context"
	"io"
	"iter"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// The server of these tests is grpc-go, which knows nothing of the client it talks to.

type bytesCodec struct{}

func (bytesCodec) Name() string { return "proto" }

func (bytesCodec) Marshal(message any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(message.([]byte))}, nil
}

func (bytesCodec) Unmarshal(data mem.BufferSlice, message any) error {
	*message.(*[]byte) = data.Materialize()
	return nil
}

var _ encoding.CodecV2 = bytesCodec{}

func serveCalls(t *testing.T, handler grpc.StreamHandler, options ...grpc.ServerOption) (string, *grpc.Server) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(append(options, grpc.UnknownServiceHandler(handler), grpc.ForceServerCodecV2(bytesCodec{}),
		grpc.MaxRecvMsgSize(maxAnswer), grpc.MaxSendMsgSize(2*maxAnswer))...)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return listener.Addr().String(), server
}

func asked(stream grpc.ServerStream) (message []byte, err error) {
	err = stream.RecvMsg(&message)
	return message, err
}

// calling is a user's connections and a request to the target; any method will do, as the server takes them all.
func calling(t *testing.T, target string, message []byte, streams bool) (*connections, func() *exchange) {
	t.Helper()
	header := callHeader(target, "/a.B/C", [][2]string{{"Plain", "a b"}, {"some-bin", "\x00\xff"}})
	r := &grpcRequest{target: target, header: header, message: prefixed(message), stream: streams}
	c := newConnections(&Plan{TimeoutS: 5})
	t.Cleanup(c.close)
	return c, func() *exchange {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		x := &exchange{}
		r.send(ctx, c, x)
		return x
	}
}

// A request that is larger than every window of flow control arrives whole, and so do answers, call after call: a window
// that isn't counted, or not given back, hangs here.
func TestLargeMessagesPass(t *testing.T) {
	sent := bytes.Repeat([]byte("0123456789abcdef"), 400_000)
	for name, windows := range map[string][]grpc.ServerOption{
		"as grpc-go sets them": nil,
		"a call's is small":    {grpc.InitialWindowSize(64 << 10), grpc.InitialConnWindowSize(16 << 20)},
		"the connection's is":  {grpc.InitialWindowSize(16 << 20), grpc.InitialConnWindowSize(64 << 10)},
	} {
		t.Run(name, func(t *testing.T) {
			target, _ := serveCalls(t, func(_ any, stream grpc.ServerStream) error {
				message, err := asked(stream)
				if err != nil {
					return err
				}
				return stream.SendMsg(message)
			}, windows...)
			_, call := calling(t, target, sent, false)
			for range 3 {
				if x := call(); x.fault != "" || !bytes.Equal(x.body, sent) || x.bytes != int64(len(sent)) {
					t.Fatalf("%d of %d bytes came back, fault %q", len(x.body), len(sent), x.fault)
				}
			}
		})
	}
}

// A call that may send more, as new settings say, is still held back by its connection's window.
func TestTheConnectionsWindowIsKept(t *testing.T) {
	const granted = 20_000
	var received, allowed, beyond atomic.Int64
	allowed.Store(65535)
	target := serveConnections(t, func(conn net.Conn, _ int) {
		for f, frame := range framesOf(conn) {
			switch part := frame.(type) {
			case *http2.HeadersFrame:
				_ = f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
			case *http2.DataFrame:
				received.Add(int64(len(part.Data())))
				beyond.Store(max(beyond.Load(), received.Load()-allowed.Load()))
				if received.Load() == allowed.Load() {
					allowed.Add(granted)
					_ = f.WriteWindowUpdate(0, granted)
				}
				if part.StreamEnded() {
					goodHead(f, part.StreamID)
					_ = f.WriteData(part.StreamID, false, prefixed(nil))
					head(f, part.StreamID, true, "grpc-status", "0")
				}
			}
		}
	})
	_, call := calling(t, target, make([]byte, 100_000), false)
	if x := call(); x.fault != "" || beyond.Load() > 0 || allowed.Load() != 65535+2*granted {
		t.Fatalf("%d bytes, %d of them not allowed: %+v", received.Load(), beyond.Load(), x.record)
	}
}

// A server may allow a call less than HTTP/2's first 65,535 bytes, and then more: no byte is sent that it has not allowed.
// This client gives back what it read, before a server has used its own allowance up.
func TestWindowsAreKept(t *testing.T) {
	const first, more = 100, 300
	var received, returned atomic.Int64
	target := serveConnections(t, func(conn net.Conn, _ int) {
		allowed := int64(0)
		for f, frame := range framesOf(conn, http2.Setting{ID: http2.SettingInitialWindowSize, Val: first}) {
			switch part := frame.(type) {
			case *http2.HeadersFrame:
				allowed = received.Load() + first
			case *http2.WindowUpdateFrame:
				returned.Add(int64(part.Increment))
			case *http2.DataFrame:
				received.Add(int64(len(part.Data())))
				if received.Load() > allowed {
					_ = f.WriteGoAway(part.StreamID, http2.ErrCodeFlowControl, nil)
					return
				}
				if !part.StreamEnded() {
					allowed += more
					_ = f.WriteWindowUpdate(part.StreamID, more)
					continue
				}
				goodHead(f, part.StreamID)
				_ = f.WriteData(part.StreamID, false, prefixed(nil))
				head(f, part.StreamID, true, "grpc-status", "0")
			}
		}
	})
	c, call := calling(t, target, make([]byte, 1000), false)
	for range 2 {
		if x := call(); x.fault != "" {
			t.Fatalf("after %d bytes: %+v", received.Load(), x.record)
		}
	}
	greeted := returned.Load()
	c.channels[target].taken = largestWindow / 2
	for range 2 { // the server has seen what came with the first one when it answers the second
		if x := call(); x.fault != "" {
			t.Fatalf("%+v", x.record)
		}
	}
	if returned.Load()-greeted < largestWindow/2 {
		t.Errorf("only %d bytes were given back", returned.Load()-greeted)
	}
}

// Messages that share a frame, are empty, or go over several frames come out as they were sent.
func TestMessagesKeepTheirBounds(t *testing.T) {
	messages := [][]byte{{}, []byte("a"), bytes.Repeat([]byte("b"), 40_000), {}, []byte("c")}
	target, _ := serveCalls(t, func(_ any, stream grpc.ServerStream) error {
		for _, message := range messages {
			if err := stream.SendMsg(message); err != nil {
				return err
			}
		}
		return nil
	})
	_, call := calling(t, target, []byte("x"), true)
	x := call()
	if x.fault != "" || len(x.frames) != len(messages) || len(x.stamps) != len(messages) {
		t.Fatalf("%d messages, %d stamps, fault %q", len(x.frames), len(x.stamps), x.fault)
	}
	for i, message := range messages {
		if !bytes.Equal(x.frames[i], message) {
			t.Errorf("message %d has %d bytes, not %d", i, len(x.frames[i]), len(message))
		}
	}
}

// A server that shuts down between two calls is noticed before the next one is sent: without that, each restart and each
// connection that got too old would be an error of the stack's.
func TestAConnectionThatEndedIsReplaced(t *testing.T) {
	answer := func(_ any, stream grpc.ServerStream) error { return stream.SendMsg([]byte("here")) }
	target, first := serveCalls(t, answer)
	c, call := calling(t, target, nil, false)
	if x := call(); x.fault != "" || x.connect == 0 {
		t.Fatalf("the first call: %+v", x.record)
	}
	if x := call(); x.fault != "" || x.connect != 0 {
		t.Fatalf("the second call, on the same connection: %+v", x.record)
	}
	first.Stop()
	listener, err := net.Listen("tcp", target)
	if err != nil {
		t.Fatal(err)
	}
	second := grpc.NewServer(grpc.UnknownServiceHandler(answer), grpc.ForceServerCodecV2(bytesCodec{}))
	go func() { _ = second.Serve(listener) }()
	t.Cleanup(second.Stop)
	if x := call(); x.fault != "" || x.connect == 0 || len(c.channels) != 1 {
		t.Fatalf("after the restart: %+v", x.record)
	}
}

// What a server says is passed on as it said it: its code and text, percent-encoded on the wire, with what was sent to it.
func TestTheServersWordsArePassedOn(t *testing.T) {
	target, _ := serveCalls(t, func(_ any, stream grpc.ServerStream) error {
		sent, _ := metadata.FromIncomingContext(stream.Context())
		if sent.Get("plain")[0] != "a b" || sent.Get("some-bin")[0] != "\x00\xff" {
			return status.Errorf(codes.Internal, "metadata %v", sent)
		}
		if deadline, limited := stream.Context().Deadline(); !limited || time.Until(deadline) > 5*time.Second {
			return status.Error(codes.Internal, "no deadline")
		}
		return status.Error(codes.ResourceExhausted, "100% voll: später")
	})
	c, call := calling(t, target, nil, false)
	x := call()
	if x.fault != "gRPC 8 ResourceExhausted: 100% voll: später" || x.status != 8 || x.done == 0 || x.first == 0 {
		t.Fatalf("%+v", x.record)
	}
	if len(c.channels) != 1 {
		t.Error("a refusal closed the connection")
	}
}

// A status that comes before the whole request was taken ends the call, and the connection serves the next one.
func TestAnEarlyRefusalEndsTheCall(t *testing.T) {
	target, _ := serveCalls(t, func(any, grpc.ServerStream) error {
		return status.Error(codes.ResourceExhausted, "full")
	}, grpc.InitialWindowSize(64<<10), grpc.InitialConnWindowSize(64<<10))
	_, call := calling(t, target, make([]byte, 8<<20), false)
	for i := range 3 {
		if x := call(); x.status != 8 || (x.connect == 0) != (i > 0) {
			t.Fatalf("call %d: %+v", i, x.record)
		}
	}
}

// … and the server is told that no more of that request will come, or it would wait for it.
func TestARequestThatIsNotSentToItsEndIsCancelled(t *testing.T) {
	cancelled := make(chan uint32, 1)
	target := serveConnections(t, func(conn net.Conn, _ int) {
		for f, frame := range framesOf(conn) {
			switch frame.(type) {
			case *http2.HeadersFrame:
				head(f, 1, true, ":status", "200", "content-type", "application/grpc", "grpc-status", "8")
			case *http2.RSTStreamFrame:
				cancelled <- frame.Header().StreamID
			}
		}
	})
	_, call := calling(t, target, make([]byte, 1<<20), false)
	if x := call(); x.status != 8 {
		t.Fatalf("%+v", x.record)
	}
	select {
	case id := <-cancelled:
		if id != 1 {
			t.Errorf("call %d was cancelled, not 1", id)
		}
	case <-time.After(5 * time.Second):
		t.Error("nothing was cancelled")
	}
}

// serveFrames answers each call by hand, so that it can be wrong; `connection` counts from 1.
func serveFrames(t *testing.T, answer func(f *http2.Framer, id uint32, connection int)) string {
	t.Helper()
	return serveConnections(t, func(conn net.Conn, number int) {
		for framer, frame := range framesOf(conn) {
			if data, ok := frame.(*http2.DataFrame); ok && data.StreamEnded() {
				answer(framer, data.StreamID, number)
			}
		}
	})
}

// framesOf greets a client and gives each frame that comes, with the framer to answer it by.
func framesOf(conn net.Conn, settings ...http2.Setting) iter.Seq2[*http2.Framer, http2.Frame] {
	return func(yield func(*http2.Framer, http2.Frame) bool) {
		f := http2.NewFramer(conn, conn)
		if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		_ = f.WriteSettings(settings...)
		for frame, err := f.ReadFrame(); err == nil; frame, err = f.ReadFrame() {
			if !yield(f, frame) {
				return
			}
		}
	}
}

func serveConnections(t *testing.T, serve func(conn net.Conn, number int)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for number := 1; ; number++ {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				serve(conn, number)
			}()
		}
	}()
	return listener.Addr().String()
}

func head(f *http2.Framer, id uint32, end bool, pairs ...string) {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for i := 0; i < len(pairs); i += 2 {
		_ = encoder.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	_ = f.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: end,
	})
}

func goodHead(f *http2.Framer, id uint32) {
	head(f, id, false, ":status", "200", "content-type", "application/grpc")
}

// Answers that no caller could use are never answered, in words, and the connection that brought them is given up.
func TestAnswersThatAreNone(t *testing.T) {
	for says, answer := range map[string]func(f *http2.Framer, id uint32){
		"the answer has no message": func(f *http2.Framer, id uint32) {
			goodHead(f, id)
			head(f, id, true, "grpc-status", "0")
		},
		"the answer is compressed": func(f *http2.Framer, id uint32) {
			goodHead(f, id)
			_ = f.WriteData(id, false, []byte{1, 0, 0, 0, 1, 'z'})
		},
		"the answer is larger than": func(f *http2.Framer, id uint32) {
			goodHead(f, id)
			_ = f.WriteData(id, false, []byte{0, 255, 0, 0, 0})
		},
		"ended without a gRPC status": func(f *http2.Framer, id uint32) {
			goodHead(f, id)
			_ = f.WriteData(id, true, prefixed([]byte("a")))
		},
		"the answer ended within a message": func(f *http2.Framer, id uint32) {
			goodHead(f, id)
			_ = f.WriteData(id, false, prefixed([]byte("abc"))[:6])
			head(f, id, true, "grpc-status", "0")
		},
		"no gRPC: HTTP 503": func(f *http2.Framer, id uint32) {
			head(f, id, true, ":status", "503", "content-type", "text/html")
		},
		"the server broke the call off: HTTP/2 INTERNAL_ERROR": func(f *http2.Framer, id uint32) {
			goodHead(f, id)
			_ = f.WriteRSTStream(id, http2.ErrCodeInternal)
		},
	} {
		t.Run(says, func(t *testing.T) {
			target := serveFrames(t, func(f *http2.Framer, id uint32, _ int) { answer(f, id) })
			c, call := calling(t, target, nil, false)
			if x := call(); !strings.Contains(x.fault, says) || x.status != neverAnswered || x.done != 0 {
				t.Fatalf("%+v", x.record)
			}
			if says != "the answer has no message" && len(c.channels) != 0 {
				t.Error("the connection is kept")
			}
		})
	}
}

// A call that the server says it has not begun is made again on a new connection, once; one that it has begun is not, as it
// would then count twice.
func TestOnlyWhatWasNotBegunIsAskedAgain(t *testing.T) {
	for name, c := range map[string]struct {
		last  func(id uint32) uint32
		again bool
	}{
		"not begun": {func(id uint32) uint32 { return id - 1 }, true},
		"begun":     {func(id uint32) uint32 { return id }, false},
	} {
		t.Run(name, func(t *testing.T) {
			var calls atomic.Int64
			target := serveFrames(t, func(f *http2.Framer, id uint32, connection int) {
				calls.Add(1)
				if connection == 1 {
					_ = f.WriteGoAway(c.last(id), http2.ErrCodeNo, nil)
				}
				if connection > 1 || !c.again {
					goodHead(f, id)
					_ = f.WriteData(id, false, prefixed([]byte("a")))
					head(f, id, true, "grpc-status", "0")
				}
			})
			connections, call := calling(t, target, nil, false)
			if x := call(); x.fault != "" || string(x.body) != "a" {
				t.Fatalf("%+v", x.record)
			}
			if want := map[bool]int64{true: 2, false: 1}[c.again]; calls.Load() != want {
				t.Errorf("the server saw %d calls", calls.Load())
			}
			before := connections.channels[target]
			if x := call(); x.fault != "" || (connections.channels[target] == before) != c.again {
				t.Errorf("the connection that the server closes is used again, or a good one isn't: %+v", x.record)
			}
		})
	}
}

// A server that asks whether the client is alive gets its answer, within a call and, at the next call, for the time between.
func TestPingsAreAnswered(t *testing.T) {
	alive := make(chan bool, 2)
	target := serveFrames(t, func(f *http2.Framer, id uint32, _ int) {
		_ = f.WritePing(false, [8]byte{1})
		for answered := false; !answered; {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			ping, ok := frame.(*http2.PingFrame)
			answered = ok && ping.IsAck() && ping.Data == [8]byte{1}
		}
		alive <- true
		goodHead(f, id)
		_ = f.WriteData(id, false, prefixed(nil))
		head(f, id, true, "grpc-status", "0")
		_ = f.WritePing(false, [8]byte{1})
	})
	_, call := calling(t, target, nil, false)
	for range 2 {
		if x := call(); x.fault != "" || len(alive) == 0 {
			t.Fatalf("%+v", x.record)
		}
		<-alive
	}
}

// A server of another protocol, or one that breaks off, is told from one that refuses.
func TestAServerThatSpeaksNoGRPC(t *testing.T) {
	for name, serve := range map[string]func(net.Conn){
		"HTTP/1.1": func(conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
		},
		"nothing": func(net.Conn) {},
	} {
		t.Run(name, func(t *testing.T) {
			target := serveConnections(t, func(conn net.Conn, _ int) { serve(conn) })
			c, call := calling(t, target, nil, false)
			if x := call(); x.status != neverAnswered || x.fault == "" || len(c.channels) != 0 {
				t.Fatalf("%+v", x.record)
			}
		})
	}
}
