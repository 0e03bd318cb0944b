// Verifies tokens as a resource server does that uses the package jose: with a remote key set for each
// replica, kept from token to token, at its default settings. Each line read is a request, each line
// written its answer: {} or {"error": why}.

import { webcrypto } from 'node:crypto'
import { createInterface } from 'node:readline'

import { createRemoteJWKSet, jwtVerify } from 'jose'

// jose looks for the global, which Node 18 does not have.
globalThis.crypto ??= webcrypto

const keySets = new Map()

function keySetAt(url) {
  if (!keySets.has(url)) {
    keySets.set(url, createRemoteJWKSet(new URL(url)))
  }
  return keySets.get(url)
}

async function verify({ token, issuer, audience, jwks }) {
  const expected = { issuer, audience, algorithms: ['RS256'], typ: 'at+jwt' }
  try {
    await jwtVerify(token, keySetAt(jwks), expected)
    return {}
  } catch (error) {
    return { error: error.code ?? String(error) }
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await verify(JSON.parse(line))))
}
