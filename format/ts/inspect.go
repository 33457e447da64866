package ts

// Inspector looks at a transport stream packet by packet, for those who check
// how it is made. It takes whole packets of 188 bytes and keeps PAT and PMT from
// one call to the next. The zero Inspector is ready.
type Inspector struct {
	Streams []ElementaryStream // of the first program's PMT
	PCRPID  uint16
	HasPAT  bool
	HasPMT  bool

	pmtPID uint16
	tables map[uint16]*sections
}

// ElementaryStream is one line of a PMT.
type ElementaryStream struct {
	PID         uint16
	Type        uint8
	Descriptors []byte
}

// PacketInfo is what one transport packet says.
type PacketInfo struct {
	PID        uint16
	Start      bool // payload_unit_start_indicator
	Discont    bool // discontinuity_indicator
	Random     bool // random_access_indicator
	Damaged    bool // transport_error_indicator, or an adaptation field too long
	Scrambled  bool
	CC         uint8
	HasPayload bool
	PCR        int64 // base, 90 kHz; -1: none
	Payload    []byte
	Table      string // "PAT" or "PMT" if it belongs to one
	BadTable   error  // of a table that ended in this packet
	PES        *PESInfo
}

// PESInfo is the header of a PES packet that begins in a transport packet and
// whose header is whole in it.
type PESInfo struct {
	StreamID       uint8
	Length         int // as declared; 0: not
	PTS, DTS       int64
	HasPTS, HasDTS bool
	Payload        []byte // as much as the packet has
}

// SyncByte begins each packet, PacketSize is its length.
const (
	SyncByte   = syncByte
	PacketSize = packetSize
)

// Packet looks at one packet of 188 bytes with its sync byte.
func (in *Inspector) Packet(p []byte) PacketInfo {
	h, v := parseHeader(p[:packetSize])
	out := PacketInfo{
		PID: h.pid, Start: h.start, Discont: h.discont, CC: h.cc, PCR: -1, Payload: h.payload,
		Damaged: v == packetError || v == packetBadAdaptation, Scrambled: v == packetScrambled, HasPayload: p[3]&flagPayload != 0,
	}
	if out.Damaged {
		return out
	}
	if n := int(p[4]); p[3]&flagAdapt != 0 && n > 0 {
		out.Random = p[5]&adaptRandom != 0
		if p[5]&adaptPCR != 0 && n >= 7 {
			out.PCR = int64(p[6])<<25 | int64(p[7])<<17 | int64(p[8])<<9 | int64(p[9])<<1 | int64(p[10])>>7
		}
	}
	switch {
	case h.pid == pidPAT:
		out.Table = "PAT"
		out.BadTable = in.feed(h, in.pat)
	case in.HasPAT && h.pid == in.pmtPID:
		out.Table = "PMT"
		out.BadTable = in.feed(h, in.pmt)
	case h.start && h.payload != nil:
		out.PES = inspectPES(h.payload)
	}
	return out
}

// feed gives the tables that end in a packet to parse.
func (in *Inspector) feed(h header, parse func(sec []byte) error) error {
	if h.payload == nil {
		return nil
	}
	s := in.tables[h.pid]
	if s == nil {
		if in.tables == nil {
			in.tables = map[uint16]*sections{}
		}
		s = &sections{}
		in.tables[h.pid] = s
	}
	s.feed(h.payload, h.start)
	var first error
	for {
		sec, ok := s.next()
		if !ok {
			if len(s.buf) > maxSection {
				s.reset()
			}
			return first
		}
		if err := parse(sec); err != nil && first == nil {
			first = err
		}
	}
}

func (in *Inspector) pat(sec []byte) error {
	t, err := parseTable(sec, tablePAT, "PAT")
	if err != nil || t.notYetValid {
		return err
	}
	if refs := parsePAT(nil, t); len(refs) > 0 {
		in.HasPAT, in.pmtPID = true, refs[0].pid
	}
	return nil
}

func (in *Inspector) pmt(sec []byte) error {
	t, err := parseTable(sec, tablePMT, "PMT")
	if err != nil || t.notYetValid {
		return err
	}
	var p program
	if err := p.parse(t); err != nil {
		return err
	}
	in.HasPMT, in.PCRPID, in.Streams = true, p.pcrPID, nil
	for _, e := range p.streams {
		in.Streams = append(in.Streams, ElementaryStream{e.pid, e.typ, append([]byte(nil), e.desc...)})
	}
	return nil
}

func inspectPES(b []byte) *PESInfo {
	h, n := parsePES(b)
	if n == 0 || n > len(b) {
		return nil
	}
	return &PESInfo{
		StreamID: h.id, Length: int(b[4])<<8 | int(b[5]), PTS: h.pts, DTS: h.dts, HasPTS: h.hasPTS, HasDTS: h.hasDTS, Payload: b[n:],
	}
}

// Since returns a-b on the 33-bit clock, in [-2^32, 2^32).
func Since(a, b int64) int64 { return since(a, b) }
