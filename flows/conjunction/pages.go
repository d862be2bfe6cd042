package conjunction

// pages counts the rules on each page. Pages are numbered from one; a page that
// has become empty is used again.
type pages struct {
	size  int
	used  map[uint32]int
	own   map[uint32]struct{} // pages for those who prefer them only
	roomy map[uint32]struct{} // other pages with rules and room
	last  uint32              // no page above it is in use
}

func (p *pages) init(size int) {
	p.size = size
	p.used = map[uint32]int{}
	p.own = map[uint32]struct{}{}
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

// maxShared is how many pages a subject shares with others before it gets pages
// of its own.
const maxShared = 4

// take takes a place on the first of the preferred pages that has room. Are they
// all full, it takes one on the lowest page that others have left room on, or, if
// they are maxShared or more, on a new page that is for those who prefer it: else
// subjects whose rules come by turns would all be spread over all pages.
func (p *pages) take(preferred []uint32) uint32 {
	for _, page := range preferred {
		if p.claim(page) {
			return page
		}
	}
	lowest := uint32(0)
	own := len(preferred) >= maxShared
	if !own {
		for page := range p.roomy {
			if lowest == 0 || page < lowest {
				lowest = page
			}
		}
	}
	if lowest == 0 {
		for lowest = 1; p.used[lowest] > 0; lowest++ {
			if lowest > p.last {
				break
			}
		}
	}
	if own {
		p.own[lowest] = struct{}{}
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
		delete(p.own, page)
	}
	if _, own := p.own[page]; !own && n > 0 && n < p.size {
		p.roomy[page] = struct{}{}
	} else {
		delete(p.roomy, page)
	}
}
