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
	if s.workers == nil {
		return e, func() {}, s.pause(ctx, e.ReceivedNs+int64(s.settings.Service))
	}
	select {
	case s.workers <- struct{}{}:
	case <-ctx.Done():
		return e, func() {}, ctx.Err()
	}
	return e, func() { <-s.workers }, s.pause(ctx, clock.Now()+int64(s.settings.Service))
}

// pause waits until `due`, and longer while the server stalls.
func (s *Server) pause(ctx context.Context, due int64) error {
	if due > clock.Now() {
		alarm, err := clock.NewAlarm(ctx)
		if err != nil {
			return err
		}
		defer alarm.Close()
		if err := alarm.Wait(due); err != nil {
			return err
		}
	}
	if until := s.stallUntil.Load(); until > clock.Now() {
		return s.pause(ctx, until)
	}
	return nil
}

// send waits for each chunk's time and sends it. `write` notes the true time, never later than the chunk leaves.
func (s *Server) send(ctx context.Context, pace Pace, chunks int, write func(i int) error) error {
	begin := clock.Now()
	for i := range chunks {
		if err := s.pause(ctx, pace.due(begin, i)); err != nil {
			return err
		}
		if err := write(i); err != nil {
			return err
		}
	}
	return nil
}

type connectionKey struct{}

func (s *Server) numbered(ctx context.Context) context.Context {
	return context.WithValue(ctx, connectionKey{}, s.connections.Add(1))
}

func connection(ctx context.Context) int64 {
	number, _ := ctx.Value(connectionKey{}).(int64)
	return number
}
