package clock

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Alarm wakes one goroutine at exact times. Go's own timers are up to 1 ms late (its poller counts in
// milliseconds); a timerfd in that poller is not.
type Alarm struct {
	ctx    context.Context
	fd     int
	file   *os.File
	forget func() bool
}

// NewAlarm makes an alarm for one goroutine at a time; when ctx ends it rings at once.
func NewAlarm(ctx context.Context) (*Alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("timerfd: %w", err)
	}
	file := os.NewFile(uintptr(fd), "timerfd")
	forget := context.AfterFunc(ctx, func() { _ = file.SetReadDeadline(time.Unix(1, 0)) })
	return &Alarm{ctx, fd, file, forget}, nil
}

// Wait returns at `due` (nanoseconds of CLOCK_MONOTONIC), at once if that is past; with an error if ctx ended first.
func (a *Alarm) Wait(due int64) error {
	if due <= Now() {
		return a.ctx.Err()
	}
	at := unix.ItimerSpec{Value: unix.NsecToTimespec(due)}
	if err := unix.TimerfdSettime(a.fd, unix.TFD_TIMER_ABSTIME, &at, nil); err != nil {
		return fmt.Errorf("timerfd: %w", err)
	}
	var expirations [8]byte
	_, err := a.file.Read(expirations[:])
	if a.ctx.Err() != nil {
		return a.ctx.Err()
	}
	return err
}

// Close frees the alarm; a context that lives on holds nothing of it.
func (a *Alarm) Close() {
	a.forget()
	_ = a.file.Close()
}
