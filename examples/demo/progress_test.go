package main

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestProgressSpeaksOnlyOfWhatTakesLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		p := newProgress(&out)
		p.begin("a quick step")
		time.Sleep(progressAfter * 8 / 10)
		p.begin("a slow step")
		time.Sleep(progressAfter)
		p.update("a slow step, half done")
		time.Sleep(progressAfter)
		p.begin("")
		time.Sleep(10 * progressAfter)
		p.close()
		if got, want := out.String(), "a slow step, half done (1 s)\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
