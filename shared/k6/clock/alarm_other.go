//go:build !linux

package clock

import (
	"context"
	"time"
)

// Alarm wakes one goroutine at given times, here with Go's timers: up to 1 ms late.
type Alarm struct{ ctx context.Context }

// NewAlarm makes an alarm for one goroutine at a time; when ctx ends it rings at once.
func NewAlarm(ctx context.Context) (*Alarm, error) { return &Alarm{ctx}, nil }

// Wait returns at `due` (nanoseconds of CLOCK_MONOTONIC), at once if that is past; with an error if ctx ended first.
func (a *Alarm) Wait(due int64) error {
	if due <= Now() {
		return a.ctx.Err()
	}
	timer := time.NewTimer(time.Duration(due - Now()))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-a.ctx.Done():
		return a.ctx.Err()
	}
}

// Close frees the alarm.
func (a *Alarm) Close() {}
