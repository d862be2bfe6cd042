package conjunction

// pages counts the rules on each page. Pages are numbered from one; a page that
// has become empty is used again.
type pages struct {
	size  int
	used  map[uint32]int
	roomy map[uint32]struct{} // pages with rules and room
	last  uint32              // no page above it is in use
}

func (p *pages) init(size int) {
	p.size = size
	p.used = map[uint32]int{}
	p.roomy = map[uint32]struct{}{}
}

// claim takes a place on one page, if it has room.
func (p *pages) claim(page uint32) bool {
	if p.used[page] >= p.size {
		return false
	}
	p.used[page]++
	p.last = max(p.last, page)
	p.note(page)
	return true
}

// take takes a place on the first of the preferred pages that has room, else on
// the lowest page that has some, else on a new one.
func (p *pages) take(preferred []uint32) uint32 {
	for _, page := range preferred {
		if p.claim(page) {
			return page
		}
	}
	lowest := uint32(0)
	for page := range p.roomy {
		if lowest == 0 || page < lowest {
			lowest = page
		}
	}
	if lowest == 0 {
		for lowest = 1; p.used[lowest] > 0; lowest++ {
			if lowest > p.last {
				break
			}
		}
	}
	p.claim(lowest)
	return lowest
}

// give gives a place on a page back.
func (p *pages) give(page uint32) {
	p.used[page]--
	p.note(page)
}

func (p *pages) note(page uint32) {
	n := p.used[page]
	if n == 0 {
		delete(p.used, page)
	}
	if n > 0 && n < p.size {
		p.roomy[page] = struct{}{}
	} else {
		delete(p.roomy, page)
	}
}
