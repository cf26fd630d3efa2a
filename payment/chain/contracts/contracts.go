// Package contracts holds the Solidity of the chain, what it compiles to, and Go bindings.
//
// The sources are in src, the committed artifacts in artifacts, and one package of bindings for each
// contract beside them. generate.sh makes all of it from the sources and the exact versions in
// package-lock.json; check.sh fails when something committed is not what they compile to.
package contracts
