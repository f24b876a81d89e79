// Command nullserver is the null server by itself: for the calibration of the generator and for tests.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"study/k6/nullserver"
)

func main() {
	var s nullserver.Settings
	web := flag.String("http", "127.0.0.1:0", "address for HTTP (/unary), server-sent events (/events) and WebSocket (/ws)")
	rpc := flag.String("grpc", "127.0.0.1:0", "address for gRPC (null.proto)")
	flag.DurationVar(&s.Pace.Delay, "delay", 0, "from a request to its answer, or the answer's first chunk")
	flag.DurationVar(&s.Pace.Gap, "gap", 20*time.Millisecond, "from chunk to chunk")
	flag.IntVar(&s.Pace.Chunks, "chunks", 32, "chunks of a streamed answer")
	flag.IntVar(&s.Workers, "workers", 0, "requests served at once, 0: all")
	flag.DurationVar(&s.Service, "service", 0, "how long a worker is busy with a request: capacity is workers / service")
	stallAt := flag.Duration("stall-at", 0, "when to stall, after the start")
	stallFor := flag.Duration("stall-for", 0, "how long, 0: never (or POST /control/stall?ms=1000)")
	log := flag.String("log", "", "file for the server's record, written at the end (or GET /control/log)")
	flag.Parse()
	if err := serve(s, *web, *rpc, *stallAt, *stallFor, *log); err != nil {
		fmt.Fprintln(os.Stderr, "nullserver:", err)
		os.Exit(1)
	}
}

// serve answers until it is told to stop; its first line on stdout says where.
func serve(s nullserver.Settings, web, rpc string, stallAt, stallFor time.Duration, log string) error {
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGINT, syscall.SIGTERM)
	server, err := nullserver.Start(s, web, rpc)
	if err != nil {
		return err
	}
	defer server.Close()
	fmt.Printf(`{"http": %q, "grpc": %q}`+"\n", server.HTTP, server.GRPC)
	if stallFor > 0 {
		time.AfterFunc(stallAt, func() { server.Stall(stallFor) })
	}
	<-told
	if log == "" {
		return nil
	}
	text, err := server.Log.JSON()
	if err != nil {
		return err
	}
	return os.WriteFile(log, text, 0o644)
}
