// Package nullserver answers at times known beforehand and records when it really did: the measure that a load
// generator is held against. It speaks HTTP, server-sent events and WebSocket on one port and gRPC on another.
package nullserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"study/k6/clock"
)

// Settings say how the server answers where a request does not.
type Settings struct {
	Pace    Pace
	Workers int           // how many requests are served at once; 0: all
	Service time.Duration // how long a worker is busy with one, before Pace begins
}

// Pace is the schedule of one answer, counted from when its request was there (and had its worker).
type Pace struct {
	Delay  time.Duration // until the answer, or its first text chunk
	Gap    time.Duration // from chunk to chunk
	Chunks int
}

// due is when chunk i of a request that began at `begin` is sent.
func (p Pace) due(begin int64, i int) int64 { return begin + int64(p.Delay) + int64(i)*int64(p.Gap) }

// Server is a running null server.
type Server struct {
	HTTP, GRPC string // addresses
	Log        *Log

	settings    Settings
	workers     chan struct{}
	stallUntil  atomic.Int64
	connections atomic.Int64 // opened so far, all protocols: numbers them
	http        *http.Server
	grpc        *grpc.Server
}

// Start listens on both addresses ("127.0.0.1:0" for any port) and answers until Close.
func Start(settings Settings, httpAddress, grpcAddress string) (*Server, error) {
	s := &Server{settings: settings, Log: &Log{}}
	if settings.Workers > 0 {
		s.workers = make(chan struct{}, settings.Workers)
	}
	web, err := net.Listen("tcp", httpAddress)
	if err != nil {
		return nil, fmt.Errorf("http: %w", err)
	}
	rpc, err := net.Listen("tcp", grpcAddress)
	if err != nil {
		_ = web.Close()
		return nil, fmt.Errorf("grpc: %w", err)
	}
	s.HTTP, s.GRPC = web.Addr().String(), rpc.Addr().String()
	s.http = &http.Server{Handler: s.routes(), ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
		return s.numbered(ctx)
	}}
	calls, err := s.grpcServer()
	if err != nil {
		return nil, errors.Join(err, web.Close(), rpc.Close())
	}
	go func() { _ = s.http.Serve(web) }()
	go func() { _ = s.grpc.Serve(leavingListener{rpc, calls.leaving}) }()
	return s, nil
}

// Close ends all connections.
func (s *Server) Close() {
	_ = s.http.Close()
	s.grpc.Stop()
}

// Stall holds back every answer and chunk that falls due in the next `length`.
func (s *Server) Stall(length time.Duration) { s.stallUntil.Store(clock.Now() + int64(length)) }

// begin notes a request that is wholly here and waits for its worker; done frees the worker.
func (s *Server) begin(ctx context.Context, protocol string, bytes int) (e *Entry, done func(), err error) {
	e = s.Log.add(protocol, connection(ctx), bytes)
	wait := &waiting{server: s, ctx: ctx}
	defer wait.end()
	if s.workers == nil {
		return e, func() {}, wait.until(e.ReceivedNs + int64(s.settings.Service))
	}
	select {
	case s.workers <- struct{}{}:
	case <-ctx.Done():
		return e, func() {}, ctx.Err()
	}
	return e, func() { <-s.workers }, wait.until(clock.Now() + int64(s.settings.Service))
}

// send waits for each chunk's time and sends it. `write` notes the true time, never later than the chunk leaves.
func (s *Server) send(ctx context.Context, pace Pace, chunks int, write func(i int) error) error {
	wait := &waiting{server: s, ctx: ctx}
	defer wait.end()
	begin := clock.Now()
	for i := range chunks {
		if err := wait.until(pace.due(begin, i)); err != nil {
			return err
		}
		if err := write(i); err != nil {
			return err
		}
	}
	return nil
}

// waiting is what a request waits with: one alarm for all chunks of an answer, and none where nothing is waited for.
type waiting struct {
	server *Server
	ctx    context.Context
	alarm  *clock.Alarm
}

// until waits for `due`, and longer while the server stalls.
func (w *waiting) until(due int64) (err error) {
	if due > clock.Now() {
		if w.alarm == nil {
			if w.alarm, err = clock.NewAlarm(w.ctx); err != nil {
				return err
			}
		}
		if err := w.alarm.Wait(due); err != nil {
			return err
		}
	}
	if stalled := w.server.stallUntil.Load(); stalled > clock.Now() {
		return w.until(stalled)
	}
	return nil
}

func (w *waiting) end() {
	if w.alarm != nil {
		w.alarm.Close()
	}
}

type connectionKey struct{}

func (s *Server) numbered(ctx context.Context) context.Context {
	return context.WithValue(ctx, connectionKey{}, s.connections.Add(1))
}

func connection(ctx context.Context) int64 {
	number, _ := ctx.Value(connectionKey{}).(int64)
	return number
}
