package tests

import (
	"bytes"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"study/k6/clock"
	"study/k6/nullserver"
)

// The null server's record says when a gRPC answer left, not when its handler handed it to grpc-go: the difference would
// be charged to the load generator. This client allows no byte of the answer, then a part of its first message, then the
// rest; a note by the handler is there before anything is allowed, a note at a message's first frame before the rest is.
func TestAnAnswerIsNotedWhenItLeaves(t *testing.T) {
	server := start(t, nullserver.Settings{Pace: nullserver.Pace{Chunks: 2}})
	conn, err := net.Dial("tcp", server.GRPC)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	framer := http2.NewFramer(conn, conn)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err = conn.Write([]byte(http2.ClientPreface))
	must(err)
	must(framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}))
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, field := range [][2]string{
		{":method", "POST"}, {":scheme", "http"}, {":path", "/study.nullserver.v1.Null/Stream"}, {":authority", "null"},
		{"content-type", "application/grpc"}, {"te", "trailers"},
	} {
		must(encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}))
	}
	must(framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true}))
	must(framer.WriteData(1, true, make([]byte, 5))) // an Ask without fields

	received := func(enough func(bytes int, ended bool) bool) {
		t.Helper()
		for bytes := 0; ; {
			frame, err := framer.ReadFrame()
			must(err)
			ended := false
			switch f := frame.(type) {
			case *http2.DataFrame:
				bytes += len(f.Data())
			case *http2.HeadersFrame:
				ended = f.StreamEnded()
			}
			if enough(bytes, ended) {
				return
			}
		}
	}
	noted := func() []int64 { return server.Log.Entries()[0].SentNs }

	for len(server.Log.Entries()) == 0 {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(50 * time.Millisecond)
	if early := noted(); len(early) > 0 {
		t.Fatalf("%d answers are noted, none was allowed to leave", len(early))
	}
	must(framer.WriteWindowUpdate(1, 7))
	received(func(bytes int, _ bool) bool { return bytes == 7 })
	if early := noted(); len(early) > 0 {
		t.Fatalf("%d answers are noted, a part of one was allowed to leave", len(early))
	}
	allowed := clock.Now()
	must(framer.WriteWindowUpdate(1, 1000))
	received(func(_ int, ended bool) bool { return ended })
	if sent := noted(); len(sent) != 2 || sent[0] < allowed || sent[1] < sent[0] {
		t.Fatalf("noted at %v, allowed at %d", sent, allowed)
	}
}
