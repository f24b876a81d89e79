package nullserver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/gorilla/websocket"
)

const lastFrame = `"last": true`

// routes: any path may carry ?delay_ms= &gap_ms= &chunks= for itself alone.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/unary", s.unary)
	mux.HandleFunc("/json", s.json)
	mux.HandleFunc("/events", s.events)
	mux.HandleFunc("/ws", s.webSocket)
	mux.HandleFunc("GET /control/log", s.showLog)
	mux.HandleFunc("POST /control/stall", s.orderStall)
	return mux
}

// unary answers JSON once; ?status= makes it fail with that status.
func (s *Server) unary(w http.ResponseWriter, r *http.Request) {
	if body, pace, ok := s.read(w, r); ok {
		s.answer(w, r, body, pace)
	}
}

// json is unary for a payload that comes as base64 in JSON. As with gRPC's messages, decoding it is part of reading.
func (s *Server) json(w http.ResponseWriter, r *http.Request) {
	body, pace, ok := s.read(w, r)
	if !ok {
		return
	}
	var ask struct{ Payload []byte }
	if err := json.Unmarshal(body, &ask); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.answer(w, r, ask.Payload, pace)
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request, body []byte, pace Pace) {
	e, done, err := s.begin(r.Context(), "http", len(body))
	defer done()
	if err != nil {
		return
	}
	_ = s.send(r.Context(), pace, 1, func(int) error {
		s.Log.sent(e.Request)
		w.Header().Set("Content-Type", "application/json")
		if status, err := strconv.Atoi(r.URL.Query().Get("status")); err == nil {
			w.WriteHeader(status)
			_, err = fmt.Fprintf(w, "told to fail\nwith %d", status)
			return err
		}
		_, err := fmt.Fprintf(w, `{"request": %d, "received": %d}`, e.Request, len(body))
		return err
	})
}

// events streams as chat servers do: headers and a role-only event at once, text chunks in their time, then [DONE].
// ?break= closes the connection after that many chunks.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	body, pace, ok := s.read(w, r)
	if !ok {
		return
	}
	e, done, err := s.begin(r.Context(), "sse", len(body))
	defer done()
	if err != nil {
		return
	}
	flush := func() error { return http.NewResponseController(w).Flush() }
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = io.WriteString(w, ": hello\n\ndata: {\"role\": \"assistant\"}\n\n")
	if flush() != nil {
		return
	}
	broken, _ := strconv.Atoi(r.URL.Query().Get("break"))
	err = s.send(r.Context(), pace, pace.Chunks, func(i int) error {
		if broken > 0 && i == broken {
			panic(http.ErrAbortHandler)
		}
		s.Log.sent(e.Request)
		_, _ = fmt.Fprintf(w, "data: {\"request\": %d, \"text\": \"word \"}\n\n", e.Request)
		return flush()
	})
	if err == nil {
		_, _ = io.WriteString(w, "data: [DONE]\n\n")
	}
}

// webSocket answers each message with the chunks of one answer, a frame each.
func (s *Server) webSocket(w http.ResponseWriter, r *http.Request) {
	pace, err := s.pace(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	socket, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer func() { _ = socket.Close() }()
	for {
		_, message, err := socket.ReadMessage()
		if err != nil {
			return
		}
		e, done, err := s.begin(r.Context(), "ws", len(message))
		if err == nil {
			err = s.send(r.Context(), pace, pace.Chunks, func(i int) error {
				frame := bytes.NewBuffer(nil)
				fmt.Fprintf(frame, `{"request": %d, "text": "word "`, e.Request)
				if i == pace.Chunks-1 {
					frame.WriteString(", " + lastFrame)
				}
				frame.WriteString("}")
				s.Log.sent(e.Request)
				return socket.WriteMessage(websocket.TextMessage, frame.Bytes())
			})
		}
		done()
		if err != nil {
			return
		}
	}
}

func (s *Server) showLog(w http.ResponseWriter, _ *http.Request) {
	text, err := s.Log.JSON()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(text)
}

func (s *Server) orderStall(w http.ResponseWriter, r *http.Request) {
	length, err := milliseconds(r.URL.Query(), "ms", 0)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.Stall(length)
	w.WriteHeader(http.StatusNoContent)
}

// read takes in the whole request; when it can't, it has answered 400.
func (s *Server) read(w http.ResponseWriter, r *http.Request) (body []byte, pace Pace, ok bool) {
	pace, err := s.pace(r.URL.Query())
	if err == nil {
		body, err = io.ReadAll(r.Body)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
	return body, pace, err == nil
}

// pace is the server's own, as far as the query does not replace it.
func (s *Server) pace(query url.Values) (pace Pace, err error) {
	pace = s.settings.Pace
	if pace.Delay, err = milliseconds(query, "delay_ms", pace.Delay); err != nil {
		return pace, err
	}
	if pace.Gap, err = milliseconds(query, "gap_ms", pace.Gap); err != nil {
		return pace, err
	}
	if text := query.Get("chunks"); text != "" {
		if pace.Chunks, err = strconv.Atoi(text); err != nil {
			return pace, fmt.Errorf("chunks: %w", err)
		}
	}
	return pace, nil
}

func milliseconds(query url.Values, name string, otherwise time.Duration) (time.Duration, error) {
	text := query.Get(name)
	if text == "" {
		return otherwise, nil
	}
	value, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return time.Duration(value * float64(time.Millisecond)), nil
}
