// A client that uses one of three packages of npm. Its argument says who it is and which package it uses;
// each line read is something to do, each line written what came of it: what the package made of the
// answer, or {"error", "kind"}: the code of the error, and how the package calls it.

import { webcrypto } from 'node:crypto'
import { createInterface } from 'node:readline'

import * as oauth4webapi from 'oauth4webapi'
import * as openid from 'openid-client'
import { ResourceOwnerPassword } from 'simple-oauth2'

// The packages look for the global, which Node 18 does not have.
globalThis.crypto ??= webcrypto

function simpleOauth2({ issuer, client_id, client_secret, method, encoding }) {
  const client = new ResourceOwnerPassword({
    client: { id: client_id, secret: client_secret ?? '' },
    auth: { tokenHost: issuer, tokenPath: '/token', revokePath: '/revoke' },
    options: {
      authorizationMethod: method === 'client_secret_basic' ? 'header' : 'body',
      credentialsEncodingMode: encoding,
    },
  })
  return {
    log_in: async (parameters) => (await client.getToken(parameters)).token,
    refresh: async ({ refresh_token, ...parameters }) =>
      (await client.createToken({ refresh_token }).refresh(parameters)).token,
    revoke: ({ token, token_type_hint }) =>
      client.createToken({ [token_type_hint]: token }).revoke(token_type_hint),
    revoke_all: ({ token }) => client.createToken(token).revokeAll(),
  }
}

async function openidClient({ issuer, client_id, client_secret, method, algorithm }) {
  const authentication = {
    client_secret_basic: () => openid.ClientSecretBasic(client_secret),
    client_secret_post: () => openid.ClientSecretPost(client_secret),
    none: () => openid.None(),
  }[method]()
  const server = new URL(issuer)
  const found = openid.discovery(server, client_id, undefined, authentication, { algorithm })
  const config = await found
  return {
    metadata: () => config.serverMetadata(),
    log_in: (parameters) => openid.genericGrantRequest(config, 'password', parameters),
    refresh: ({ refresh_token, ...parameters }) =>
      openid.refreshTokenGrant(config, refresh_token, parameters),
    introspect: ({ token }) => openid.tokenIntrospection(config, token),
    revoke: ({ token, ...parameters }) => openid.tokenRevocation(config, token, parameters),
  }
}

async function oauth4webapiClient({ issuer, client_id, client_secret, method }) {
  const authentication = {
    client_secret_basic: () => oauth4webapi.ClientSecretBasic(client_secret),
    client_secret_post: () => oauth4webapi.ClientSecretPost(client_secret),
    none: () => oauth4webapi.None(),
  }[method]()
  const url = new URL(issuer)
  const found = await oauth4webapi.discoveryRequest(url, { algorithm: 'oauth2' })
  const server = await oauth4webapi.processDiscoveryResponse(url, found)
  const asked = [server, { client_id }, authentication]
  const { processGenericTokenEndpointResponse, processRefreshTokenResponse } = oauth4webapi
  const { processIntrospectionResponse, processRevocationResponse } = oauth4webapi
  return {
    log_in: async (parameters) => {
      const request = oauth4webapi.genericTokenEndpointRequest(...asked, 'password', parameters)
      return processGenericTokenEndpointResponse(server, { client_id }, await request)
    },
    refresh: async ({ refresh_token, ...additionalParameters }) => {
      const options = { additionalParameters }
      const request = oauth4webapi.refreshTokenGrantRequest(...asked, refresh_token, options)
      return processRefreshTokenResponse(server, { client_id }, await request)
    },
    introspect: async ({ token }) => {
      const request = oauth4webapi.introspectionRequest(...asked, token)
      return processIntrospectionResponse(server, { client_id }, await request)
    },
    revoke: async ({ token, ...additionalParameters }) => {
      const options = { additionalParameters }
      const request = oauth4webapi.revocationRequest(...asked, token, options)
      return processRevocationResponse(await request)
    },
    verify: ({ token, audience }) => {
      const headers = { authorization: `Bearer ${token}` }
      const request = new Request('https://api.example/', { headers })
      return oauth4webapi.validateJwtAccessToken(server, request, audience)
    },
  }
}

const packages = {
  'simple-oauth2': simpleOauth2,
  'openid-client': openidClient,
  oauth4webapi: oauth4webapiClient,
}

async function refusal(error) {
  if (error instanceof oauth4webapi.WWWAuthenticateChallengeError) {
    return { ...(await error.response.json()), kind: error.name }
  }
  if (error instanceof oauth4webapi.ResponseBodyError) {
    return { error: error.error, kind: error.name }
  }
  return { error: error.data?.payload?.error ?? String(error), kind: error.message }
}

const identity = JSON.parse(process.argv.at(-1))
const client = await packages[identity.package](identity)
for await (const line of createInterface({ input: process.stdin })) {
  const { act, ...parameters } = JSON.parse(line)
  const outcome = (async () => client[act](parameters))()
  console.log(JSON.stringify((await outcome.catch(refusal)) ?? {}))
}
