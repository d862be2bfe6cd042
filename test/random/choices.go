package random

import (
	"math/bits"
	"math/rand/v2"

	"pgregory.net/rapid"
)

// Choices is where randomness comes from.
type Choices interface {
	// Intn returns a number of [0, n), each as likely as the other. Smaller
	// numbers should stand for simpler things: shrinking prefers them.
	Intn(n int) int
}

// Seed returns the choices that follow from a seed, always the same ones.
func Seed(seed uint64) Choices { return seeded{rand.New(rand.NewPCG(seed, 0x51))} }

type seeded struct{ r *rand.Rand }

func (s seeded) Intn(n int) int { return s.r.IntN(n) }

// Draw runs f on the choices of a rapid test. The log of a failed test shows the
// value that f returns on one line, not every choice.
func Draw[T any](t *rapid.T, label string, f func(Choices) T) T {
	return custom(f).Draw(t, label)
}

func custom[T any](f func(Choices) T) *rapid.Generator[T] {
	return rapid.Custom(func(t *rapid.T) T { return f(drawn{t}) })
}

type drawn struct{ t *rapid.T }

// Intn composes a number of single bits: the integers of rapid prefer small
// values, which would make rare things of most kinds.
func (d drawn) Intn(n int) int {
	if n == 1 {
		return 0
	}
	const spare = 4 // bits that even out the remainder of n
	width := bits.Len(uint(n-1)) + spare
	x := 0
	for range width {
		x <<= 1
		if rapid.Bool().Draw(d.t, "bit") {
			x |= 1
		}
	}
	return x * n >> width
}

// list makes between least and most elements. A rapid test has about as many,
// but may shrink to none.
func list[T any](c Choices, least, most int, f func(Choices) T) (l []T) {
	d, shrinks := c.(drawn)
	if !shrinks {
		for range least + c.Intn(most-least+1) {
			l = append(l, f(c))
		}
		return l
	}
	// Each element is there or not by choices of its own, in a group of its own:
	// taking one away then leaves all others as they are.
	element := custom(func(c Choices) (one []T) {
		if chance(c, 8*(least+most)/most) {
			one = append(one, f(c))
		}
		return one
	})
	for range most {
		l = append(l, element.Draw(d.t, "element")...)
	}
	return l
}

// pick returns one of the options, the first being the simplest.
func pick[T any](c Choices, options ...T) T { return options[c.Intn(len(options))] }

// chance returns true in n of 16 cases.
func chance(c Choices, n int) bool { return c.Intn(16) >= 16-n }
