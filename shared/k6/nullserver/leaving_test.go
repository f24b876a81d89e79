package nullserver

import (
	"bytes"
	"net"
	"slices"
	"testing"

	"golang.org/x/net/http2"
)

type written struct {
	net.Conn
	got bytes.Buffer
}

func (w *written) Write(b []byte) (int, error) { return w.got.Write(b) }

// Each message is told once, by the write that completes it, however messages share frames, streams interleave and
// frames are cut into writes; and what is written stays what it was. A reader that takes a frame for a message, or a
// write for a frame, loses some, tells them early, or mixes two streams.
func TestMessagesAreToldWhenTheirLastByteLeaves(t *testing.T) {
	var wire bytes.Buffer
	framer := http2.NewFramer(&wire, nil)
	var ends []int // of what is written when each message is complete
	data := func(stream uint32, payload string, complete int) {
		if err := framer.WriteData(stream, false, []byte(payload)); err != nil {
			t.Fatal(err)
		}
		for range complete {
			ends = append(ends, wire.Len())
		}
	}
	if err := framer.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 16384}); err != nil {
		t.Fatal(err)
	}
	data(1, "\x00\x00\x00\x00\x03one\x00\x00\x00\x00\x03two", 2)
	data(1, "\x00\x00\x00", 0)
	data(3, "\x00\x00\x00\x00\x05th", 0)
	data(1, "\x00\x04four", 1)
	data(3, "ree\x00\x00\x00\x00\x00", 2)
	data(1, "\x00\x00\x00\x00\x01!", 1)

	for _, size := range []int{1, 7, wire.Len()} {
		var told []string
		var at []int
		out := &written{}
		c := newLeavingConn(out, func(message []byte) error {
			told, at = append(told, string(message)), append(at, out.got.Len())
			return nil
		})
		for piece := range slices.Chunk(wire.Bytes(), size) {
			if _, err := c.Write(piece); err != nil {
				t.Fatal(err)
			}
		}
		if want := []string{"one", "two", "four", "three", "", "!"}; !slices.Equal(told, want) {
			t.Errorf("in writes of %d bytes: told %q, sent %q", size, told, want)
		}
		for i := range at {
			if at[i] >= ends[i] || at[i] < ends[i]-size {
				t.Errorf("in writes of %d bytes: told after %d bytes, its last is byte %d", size, at[i], ends[i])
			}
		}
		if !bytes.Equal(out.got.Bytes(), wire.Bytes()) {
			t.Errorf("in writes of %d bytes: something else was written", size)
		}
	}
}
