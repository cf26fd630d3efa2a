//go:build race

package wasm_test

// raceDetector tells that the child needs far more memory than its module.
const raceDetector = true
