package timing

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"

	"github.com/grafana/sobek"
	"go.k6.io/k6/v2/js/common"
)

// payloadsValue is these payloads as k6.js sees them: {index, name, bytes, text()}.
func (m *module) payloadsValue(indices []int) sobek.Value {
	rt := m.vu.Runtime()
	run := m.root.run
	if m.payloads == nil {
		m.payloads = make([]sobek.Value, len(run.plan.Payloads))
	}
	list := make([]any, len(indices))
	for i, index := range indices {
		if m.payloads[index] == nil {
			payload := run.plan.Payloads[index]
			object := rt.NewObject()
			_ = object.Set("index", index)
			_ = object.Set("name", payload.Name)
			_ = object.Set("bytes", rt.NewArrayBuffer(payload.bytes)) // shared by all users, not to be written to
			_ = object.Set("text", func() string { return string(payload.bytes) })
			m.payloads[index] = object
		}
		list[i] = m.payloads[index]
	}
	return rt.NewArray(list...)
}

// encode makes the request that k6.js described.
func (m *module) encode(description sobek.Value) (request, error) {
	object, ok := description.(*sobek.Object)
	if !ok {
		return nil, errors.New("request() returned no object")
	}
	text := func(name string) string {
		if value := object.Get(name); present(value) {
			return value.String()
		}
		return ""
	}
	switch protocol := text("protocol"); protocol {
	case "http", "sse":
		return m.encodeHTTP(object, text, protocol == "sse")
	case "grpc", "grpc-stream":
		return m.encodeGRPC(object, text, protocol == "grpc-stream")
	case "ws":
		message, isText, err := contents(object.Get("message"))
		if err != nil {
			return nil, fmt.Errorf("request().message: %w", err)
		}
		return &wsRequest{text("url"), message, !isText, []byte(text("until"))}, nil
	default:
		return nil, fmt.Errorf("request().protocol is %q, not http, sse, grpc, grpc-stream or ws", protocol)
	}
}

func (m *module) encodeHTTP(object *sobek.Object, text func(string) string, events bool) (request, error) {
	header := http.Header{}
	if headers, ok := object.Get("headers").(*sobek.Object); ok {
		for _, name := range headers.Keys() {
			header.Set(name, headers.Get(name).String())
		}
	}
	body, _, err := contents(object.Get("body"))
	if err != nil {
		return nil, fmt.Errorf("request().body: %w", err)
	}
	if list, ok := object.Get("parts").(*sobek.Object); ok {
		var parts []part
		for _, key := range list.Keys() {
			described := list.Get(key).ToObject(m.vu.Runtime())
			p := part{}
			for name, field := range map[string]*string{"name": &p.name, "filename": &p.filename, "type": &p.kind} {
				if value := described.Get(name); present(value) {
					*field = value.String()
				}
			}
			if p.body, _, err = contents(described.Get("body")); err != nil {
				return nil, fmt.Errorf("request().parts[%s].body: %w", key, err)
			}
			parts = append(parts, p)
		}
		var kind string
		if kind, body, err = encodeParts(parts); err != nil {
			return nil, err
		}
		header.Set("Content-Type", kind)
	}
	return newHTTPRequest(text("method"), text("url"), header, body, events)
}

func (m *module) encodeGRPC(object *sobek.Object, text func(string) string, stream bool) (request, error) {
	path := text("proto")
	if path == "" {
		return nil, errors.New("request().proto is missing")
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(m.folder, path)
	}
	method, err := m.root.protos.method(path, text("method"))
	if err != nil {
		return nil, err
	}
	if method.IsStreamingClient() || method.IsStreamingServer() != stream {
		return nil, fmt.Errorf("%s does not stream the way its protocol in k6.js says", text("method"))
	}
	described := map[string]any{}
	if value := object.Get("message"); present(value) {
		described, _ = plain(value.Export()).(map[string]any)
	}
	message, err := encodeMessage(method.Input(), described)
	if err != nil {
		return nil, err
	}
	var metadata [][2]string
	if values, ok := object.Get("metadata").(*sobek.Object); ok {
		for _, name := range values.Keys() {
			metadata = append(metadata, [2]string{name, values.Get(name).String()})
		}
	}
	header := callHeader(text("target"), text("method"), metadata)
	return &grpcRequest{text("target"), header, prefixed(message), method.Output(), stream}, nil
}

// turn is one exchange as js/study.js sees it: {payloads, response, failed}.
func (m *module) turn(x *exchange) sobek.Value {
	rt := m.vu.Runtime()
	turn := rt.NewObject()
	_ = turn.Set("payloads", m.payloadsValue(x.payloads))
	_ = turn.Set("failed", x.fault != "")
	response := rt.NewObject()
	_ = turn.Set("response", response)
	_ = response.Set("status", x.status)
	switch {
	case x.stream && x.message != nil:
		_ = response.Set("chunks", m.messages(x))
	case x.stream:
		chunks := make([]any, len(x.frames))
		for i, frame := range x.frames {
			chunk := rt.NewObject()
			_ = chunk.Set("data", string(frame))
			chunks[i] = chunk
		}
		_ = response.Set("chunks", rt.NewArray(chunks...))
	case x.message != nil:
		_ = response.Set("error", x.fault)
		if x.fault == "" {
			_ = response.Set("message", m.message(x, x.body))
		}
	default:
		_ = response.Set("body", rt.NewArrayBuffer(x.body))
		_ = response.Set("text", func() string { return string(x.body) })
		_ = response.Set("json", func() sobek.Value { return m.json(string(x.body)) })
	}
	if x.headers != nil {
		headers := rt.NewObject()
		for name := range x.headers {
			_ = headers.Set(name, x.headers.Get(name))
		}
		_ = response.Set("headers", headers)
	}
	return turn
}

// message decodes a gRPC message; one that can't be decoded becomes the request's error.
func (m *module) message(x *exchange, wire []byte) sobek.Value {
	return m.json(x.decode(wire))
}

// messages are a gRPC stream's chunks, [{message}], parsed in one go: one by one they take a third longer.
func (m *module) messages(x *exchange) sobek.Value {
	text := []byte{'['}
	for i, frame := range x.frames {
		if i > 0 {
			text = append(text, ',')
		}
		text = append(append(append(text, `{"message":`...), x.decode(frame)...), '}')
	}
	return m.json(string(append(text, ']')))
}

// decode is the JSON of a gRPC message, null if it can't be decoded: that becomes the request's error.
func (x *exchange) decode(wire []byte) string {
	text, err := decodeMessage(x.message, wire)
	if err != nil {
		x.fault = oneLine(err.Error())
		return "null"
	}
	return text
}

// outcome reads what answer() returned: {units, answers, keys, tokens} or {error}.
func (m *module) outcome(value sobek.Value) (outcome, error) {
	rt := m.vu.Runtime()
	var o outcome
	object, ok := value.(*sobek.Object)
	if !ok {
		return o, errors.New("answer() returned no object")
	}
	if fault := object.Get("error"); present(fault) && fault.String() != "" {
		o.fault = fault.String()
	}
	if tokens := object.Get("tokens"); present(tokens) {
		if err := rt.ExportTo(tokens, &o.tokens); err != nil {
			return o, fmt.Errorf("answer().tokens: %w", err)
		}
	}
	if o.fault != "" {
		return o, nil
	}
	units := object.Get("units")
	if !present(units) {
		return o, errors.New("answer() returned no units")
	}
	o.units = units.ToFloat()
	if keys := object.Get("keys"); present(keys) {
		if err := rt.ExportTo(keys, &o.keys); err != nil {
			return o, fmt.Errorf("answer().keys: %w", err)
		}
	}
	if answer := object.Get("answer"); present(answer) {
		o.answer = json.RawMessage(answer.String())
	}
	return o, nil
}

func present(value sobek.Value) bool {
	return value != nil && !sobek.IsUndefined(value) && !sobek.IsNull(value)
}

// contents is the bytes of a string, an ArrayBuffer or a view of one, and whether it was a string.
func contents(value sobek.Value) ([]byte, bool, error) {
	if !present(value) {
		return nil, true, nil
	}
	if text, ok := value.Export().(string); ok {
		return []byte(text), true, nil
	}
	bytes, err := common.ToBytes(value.Export())
	if err != nil {
		return nil, false, errors.New("is neither a string nor an ArrayBuffer")
	}
	return bytes, false, nil
}

// plain replaces ArrayBuffers by their bytes, at any depth.
func plain(value any) any {
	switch value := value.(type) {
	case sobek.ArrayBuffer:
		return value.Bytes()
	case map[string]any:
		for key, item := range value {
			value[key] = plain(item)
		}
	case []any:
		for i, item := range value {
			value[i] = plain(item)
		}
	}
	return value
}
