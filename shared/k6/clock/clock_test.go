package clock

import (
	"context"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Now is the machine's CLOCK_MONOTONIC, not a clock of this process: else no stamp could be compared with a server's.
func TestNowIsTheMachinesClock(t *testing.T) {
	const slack = int64(100 * time.Microsecond) // of the calibration
	for range 1000 {
		before := monotonic(t)
		now := Now()
		after := monotonic(t)
		if now < before-slack || now > after+slack {
			t.Fatalf("Now() = %d is outside %d … %d", now, before, after)
		}
	}
}

// An alarm never rings early: an early request would have a negative delay, and a server would see another schedule.
func TestAlarmNeverRingsEarly(t *testing.T) {
	alarm, err := NewAlarm(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer alarm.Close()
	for i := range 50 {
		due := Now() + int64(i)*int64(100*time.Microsecond)
		if err := alarm.Wait(due); err != nil {
			t.Fatal(err)
		}
		if now := Now(); now < due {
			t.Fatalf("rang %d ns early", due-now)
		}
	}
}

// A user that waits for a far slot leaves when the run is stopped; else k6 would hang on Ctrl-C.
func TestAlarmEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	alarm, err := NewAlarm(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer alarm.Close()
	ended := make(chan error, 1)
	go func() { ended <- alarm.Wait(Now() + int64(time.Hour)) }()
	cancel()
	select {
	case err := <-ended:
		if err == nil {
			t.Fatal("an alarm that did not ring says that it did")
		}
	case <-time.After(time.Minute):
		t.Fatal("the alarm outlived its context")
	}
}

func monotonic(t *testing.T) int64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	return now.Nano()
}
