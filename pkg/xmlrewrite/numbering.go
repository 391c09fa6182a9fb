package xmlrewrite

// numbering finds entries of a list by their numbers. Numbers that count up,
// as they mostly do, need no map.
type numbering struct {
	first int
	count int
	byID  map[int]int // From a number to its entry, once they do not count up.
}

// add gives the next entry its number, and reports whether no other has it.
func (n *numbering) add(id int) bool {
	if _, twice := n.find(id); twice {
		return false
	}
	if n.count == 0 {
		n.first = id
	}
	if n.byID == nil && id-n.first != n.count {
		n.byID = make(map[int]int, 2*n.count)
		for i := range n.count {
			n.byID[n.first+i] = i
		}
	}
	if n.byID != nil {
		n.byID[id] = n.count
	}
	n.count++
	return true
}

// find returns the entry with the number.
func (n *numbering) find(id int) (int, bool) {
	if n.byID != nil {
		i, ok := n.byID[id]
		return i, ok
	}
	i := id - n.first
	return i, i >= 0 && i < n.count
}
