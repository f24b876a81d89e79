package timing

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strings"
	"sync/atomic"

	"study/k6/clock"
)

// maxAnswer is the largest answer that is read, whatever the protocol.
const maxAnswer = 64 << 20

// httpRequest is an encoded HTTP/1.1 request; with `events` its answer is a stream of server-sent events.
type httpRequest struct {
	method string
	url    *url.URL
	header http.Header
	body   []byte
	events bool
}

// part is one part of a multipart body.
type part struct {
	name, filename, kind string
	body                 []byte
}

// newTransport is HTTP/1.1 with keep-alive for one user: it never proxies, follows or decompresses.
func newTransport(newConnections bool) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		DialContext:        (&net.Dialer{}).DialContext,
		Protocols:          protocols,
		DisableCompression: true,
		DisableKeepAlives:  newConnections,
		ReadBufferSize:     64 << 10,
		WriteBufferSize:    64 << 10,
	}
}

func newHTTPRequest(method, address string, header http.Header, body []byte, events bool) (*httpRequest, error) {
	target, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	if target.Scheme != "http" && target.Scheme != "https" || target.Host == "" {
		return nil, fmt.Errorf("url %q is not http://host/…", address)
	}
	if header.Get("User-Agent") == "" {
		header.Set("User-Agent", "k6")
	}
	return &httpRequest{strings.ToUpper(method), target, header, body, events}, nil
}

// encodeParts makes a multipart/form-data body and its content type.
func encodeParts(parts []part) (string, []byte, error) {
	var body bytes.Buffer
	writer := multipart.NewWriter(&body)
	for _, p := range parts {
		disposition := fmt.Sprintf("form-data; name=%q", p.name)
		if p.filename != "" {
			disposition += fmt.Sprintf("; filename=%q", p.filename)
		}
		head := textproto.MIMEHeader{"Content-Disposition": {disposition}}
		if p.kind != "" {
			head.Set("Content-Type", p.kind)
		}
		sink, err := writer.CreatePart(head)
		if err == nil {
			_, err = sink.Write(p.body)
		}
		if err != nil {
			return "", nil, err
		}
	}
	if err := writer.Close(); err != nil {
		return "", nil, err
	}
	return writer.FormDataContentType(), body.Bytes(), nil
}

func (r *httpRequest) send(ctx context.Context, c *connections, x *exchange) {
	var first firstByte
	var asked, got atomic.Int64 // when a connection was asked for, and a new one was there
	trace := &httptrace.ClientTrace{
		GetConn: func(string) { asked.Store(clock.Now()) },
		GotConn: func(info httptrace.GotConnInfo) {
			if !info.Reused {
				got.Store(clock.Now())
			}
		},
		GotFirstResponseByte: first.stamp,
	}
	out := (&http.Request{
		Method: r.method, URL: r.url, Host: r.url.Host, Header: r.header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(httptrace.WithClientTrace(ctx, trace))
	if len(r.body) > 0 {
		out.ContentLength = int64(len(r.body))
		out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(r.body)), nil }
		out.Body, _ = out.GetBody()
	}
	x.sent = clock.Now()
	response, err := c.transport.RoundTrip(out)
	if err == nil {
		x.status, x.headers = response.StatusCode, response.Header
		if r.events && response.StatusCode < 300 {
			err = x.readEvents(response.Body, c.buffer)
		} else {
			err = x.readBody(response)
		}
		_ = response.Body.Close()
	}
	x.first = first.at.Load()
	if got.Load() != 0 {
		x.connect = got.Load() - asked.Load()
	}
	if err != nil {
		x.fail(ctx, err, c.timeout)
	} else if x.status < 200 || x.status > 299 {
		x.fault = oneLine(fmt.Sprintf("HTTP %d: %s", x.status, x.body[:min(len(x.body), errorLimit)]))
	}
}

// readBody reads a whole answer; `done` is the return of the read that brought its last byte.
func (x *exchange) readBody(response *http.Response) (err error) {
	if n := response.ContentLength; n >= 0 && n <= maxAnswer {
		x.body = make([]byte, n)
		_, err = io.ReadFull(response.Body, x.body)
	} else {
		x.body, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	}
	x.done = clock.Now()
	x.bytes = int64(len(x.body))
	if err == nil && len(x.body) > maxAnswer {
		err = fmt.Errorf("the answer is larger than %d bytes", maxAnswer)
	}
	return err
}

// firstByte is stamped by the goroutine that reads the connection.
type firstByte struct{ at atomic.Int64 }

func (f *firstByte) stamp() { f.at.CompareAndSwap(0, clock.Now()) }
