package xmlrewrite

const (
	// Sizes of the chunks of an arena. The greatest bounds how much room is made
	// at once, whatever a document pretends to hold.
	minChunk = 64
	maxChunk = 4096

	// maxKept is how many chunks are kept for the next document.
	maxKept = 8
)

// arena hands out values in chunks, so that one allocation serves many, and
// takes them all back at once.
type arena[T any] struct {
	chunk []T   // What was handed out of the chunk in use, and its room.
	kept  [][]T // All chunks; the one in use is the last that is not empty.
	used  int   // How many chunks were filled before the one in use.
}

// take returns a zero value.
func (a *arena[T]) take() *T {
	if len(a.chunk) == cap(a.chunk) {
		a.grow()
	}
	a.chunk = a.chunk[:len(a.chunk)+1]
	return &a.chunk[len(a.chunk)-1]
}

// grow turns to the next chunk.
func (a *arena[T]) grow() {
	if cap(a.chunk) > 0 {
		a.used++
	}
	if a.used == len(a.kept) {
		a.kept = append(a.kept, make([]T, min(max(minChunk, 2*cap(a.chunk)), maxChunk)))
	}
	a.chunk = a.kept[a.used][:0]
}

// move turns to the next chunk, and takes the values from there on along. It
// returns where they are now. The old ones are no longer good.
func (a *arena[T]) move(first int) int {
	held := a.chunk[first:]
	a.grow()
	a.chunk = append(a.chunk, held...)
	return 0
}

// reset takes back all that was handed out and forgets what was in it.
func (a *arena[T]) reset() {
	for _, full := range a.kept[:a.used] {
		clear(full)
	}
	clear(a.chunk)
	if len(a.kept) > maxKept {
		a.kept = a.kept[:maxKept:maxKept]
	}
	a.used, a.chunk = 0, nil
	if len(a.kept) > 0 {
		a.chunk = a.kept[0][:0]
	}
}
