package pack

import "unsafe"

// adjacent reports whether b lies right behind a in memory. Neither is empty.
func adjacent(a, b []byte) bool {
	return uintptr(unsafe.Pointer(unsafe.SliceData(a)))+uintptr(len(a)) == uintptr(unsafe.Pointer(unsafe.SliceData(b)))
}

// extend returns a with n bytes more, which adjacent showed to be payload of the
// same slab: packets never touch across two mappings because an arena that
// begins a slab leaves the rest of the one before unused or holds both.
func extend(a []byte, n int) []byte {
	return unsafe.Slice(unsafe.SliceData(a), len(a)+n)
}
