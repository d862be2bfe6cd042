// Package list reads the lists of the datapath that Open vSwitch prints, such as
// connections and datapath actions: elements parted by commas, which nest in
// parentheses.
package list

// Cut cuts the first element off a list. It ends at the first comma outside
// parentheses, which is dropped, or with the list; a parenthesis that was never
// opened closes nothing.
func Cut(text string) (element, rest string) {
	depth := 0
	for i := range len(text) {
		switch text[i] {
		case '(':
			depth++
		case ')':
			depth = max(depth-1, 0)
		case ',':
			if depth == 0 {
				return text[:i], text[i+1:]
			}
		}
	}
	return text, ""
}
