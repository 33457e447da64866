package ts

// Sniff returns from 0 to 100 how sure it is that head, the first bytes of an
// input, up to 4 KiB, is a transport stream.
func Sniff(head []byte) int {
	best := 0
	for _, n := range strides {
		for off := 0; off < min(n, len(head)); off++ {
			best = max(best, run(head, off, n))
		}
	}
	switch {
	case best >= 10:
		return 100
	case best >= syncRun:
		return 90
	case best >= 2 && len(head) >= best*packetSize && head[0] == syncByte && len(head) < syncRun*packetSize:
		return 70
	}
	return 0
}

// run counts the sync bytes from off at distance n; one that is missing makes 0.
func run(b []byte, off, n int) int {
	k := 0
	for ; off < len(b); off += n {
		if b[off] != syncByte {
			return 0
		}
		k++
	}
	return k
}
