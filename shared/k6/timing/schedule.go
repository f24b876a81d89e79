package timing

import (
	"math"
	"math/rand/v2"
	"time"
)

// Streams of the one seed: drawing arrivals must not move the payloads' order.
const (
	arrivalStream = 1
	orderStream   = 2
)

func generator(seed int64, stream uint64) *rand.Rand {
	return rand.New(rand.NewPCG(uint64(seed), stream))
}

// arrivals lists when each request of an open load is due: nanoseconds after the clock's start, below `horizon`.
//
// The stages turn time into an expected number of arrivals; a slot is due where that number passes the
// next whole one (constant) or the next point of a unit Poisson process. So a change of rate between two
// slots is honoured by both, and one seed gives one schedule.
func arrivals(load Load, seed int64, horizon time.Duration) []int64 {
	random := generator(seed, arrivalStream)
	gap := func() float64 {
		if load.Arrivals == "poisson" {
			return -math.Log1p(-random.Float64())
		}
		return 1
	}
	next := 0.0
	if load.Arrivals == "poisson" {
		next = gap()
	}
	var slots []int64
	start, before := 0.0, 0.0 // seconds and expected arrivals at the stage's start
	for _, stage := range load.Stages {
		for next < before+stage.RatePerS*stage.Seconds {
			due := int64((start + (next-before)/stage.RatePerS) * 1e9)
			if due >= int64(horizon) {
				return slots
			}
			slots = append(slots, due)
			next += gap()
		}
		start += stage.Seconds
		before += stage.RatePerS * stage.Seconds
	}
	return slots
}

// order says which payloads each request takes: a seeded permutation, walked in a circle.
type order struct {
	permutation []int
	batch       int
}

func newOrder(payloads, batch int, seed int64) order {
	return order{generator(seed, orderStream).Perm(payloads), batch}
}

// inSequence is the order of check mode: each payload once, alone.
func inSequence(payloads int) order {
	permutation := make([]int, payloads)
	for i := range permutation {
		permutation[i] = i
	}
	return order{permutation, 1}
}

// entries are the payloads of request i.
func (o order) entries(i int64) []int {
	entries := make([]int, o.batch)
	for j := range entries {
		entries[j] = o.permutation[(i*int64(o.batch)+int64(j))%int64(len(o.permutation))]
	}
	return entries
}

// distinct is after how many requests the circle repeats itself: the number of requests to encode.
func (o order) distinct() int {
	a, b := len(o.permutation), o.batch
	for b != 0 {
		a, b = b, a%b
	}
	return len(o.permutation) / a
}
