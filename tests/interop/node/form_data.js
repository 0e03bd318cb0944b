// Sends FormData by fetch, many times at once, and writes {"status": how often} of each case that a line names: the
// status and the error of each answer, or the failure of fetch.

import { createInterface } from 'node:readline'

const TRIES = 40

async function attempt({ url, method, headers, length }) {
  const form = new FormData()
  form.append('username', 'johndoe')
  form.append('file', new Blob(['x'.repeat(length)]), 'file.txt')
  const answer = await fetch(url, { method, headers, body: form })
  return `${answer.status} ${(await answer.json()).error}`
}

for await (const line of createInterface({ input: process.stdin })) {
  const outcomes = {}
  for (let number = 0; number < TRIES; number++) {
    const failed = (error) => `${error.cause?.code ?? error}`
    const outcome = await attempt(JSON.parse(line)).catch(failed)
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
  }
  console.log(JSON.stringify(outcomes))
}
