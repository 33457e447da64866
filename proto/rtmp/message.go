package rtmp

// Message types. RTMP 5.4, 6.2, 7.1
const (
	typeSetChunkSize  = 1
	typeAbort         = 2
	typeAck           = 3
	typeUserControl   = 4
	typeWindowAckSize = 5
	typePeerBandwidth = 6
	typeAudio         = 8
	typeVideo         = 9
	typeDataAMF3      = 15
	typeCommandAMF3   = 17
	typeDataAMF0      = 18
	typeCommandAMF0   = 20
	typeAggregate     = 22
)

// message is a whole one. Its body is valid until the next is read.
type message struct {
	kind      byte
	stream    uint32
	timestamp uint32 // ms
	body      []byte
}

// Bounds of messages by type.
const (
	maxAudio   = 256 << 10
	maxCommand = 64 << 10
	maxControl = 64
)
