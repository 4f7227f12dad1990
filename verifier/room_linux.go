package main

import "syscall"

// largeFile is the size from which on a file is read into memory of its own.
const largeFile = 4 << 20

// madvHugepage is MADV_HUGEPAGE of <asm-generic/mman-common.h>, which package syscall doesn't name.
const madvHugepage = 14

// room is memory for a file of that size. A large one gets pages of 2 MB where the system has them: it is written once, and most of what that would take
// otherwise is the kernel's work for each 4 KB. It is never given back, because the process ends.
func room(size int) []byte {
	if size < largeFile {
		return make([]byte, size)
	}
	b, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return make([]byte, size)
	}
	_ = syscall.Madvise(b, madvHugepage) // where it isn't heeded, the pages are small
	return b
}
