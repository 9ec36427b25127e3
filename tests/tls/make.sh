#!/bin/sh
# Makes the keys of this directory, each as PKCS#8 and in the older form of its kind (PKCS#1 for
# RSA, SEC1 for EC): the tests cannot make RSA keys, nor the older forms. They are for tests alone.
set -eu
cd "$(dirname "$0")"

key() { # NAME OLDER-FORM OPTIONS...
	name=$1 older=$2
	shift 2
	openssl genpkey "$@" -out "$name-pkcs8.key"
	[ -z "$older" ] || openssl pkey -in "$name-pkcs8.key" -traditional -out "$name-$older.key"
}

key rsa pkcs1 -algorithm RSA -pkeyopt rsa_keygen_bits:2048
key p256 sec1 -algorithm EC -pkeyopt ec_paramgen_curve:P-256
key p384 sec1 -algorithm EC -pkeyopt ec_paramgen_curve:P-384
key ed25519 '' -algorithm ED25519
