// @node-oauth/oauth2-server on Express, as its documentation shows it: the model is what an application writes,
// here in memory. Passwords are hashed by Node's scrypt at its default cost; PEERS_EQUAL gives it Jeton's.
import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import OAuth2Server from '@node-oauth/oauth2-server';
import express from 'express';

const hash = promisify(scrypt);
const cost = process.env.PEERS_EQUAL ? { N: 1 << 17, r: 8, p: 1, maxmem: 256 << 20 } : {};
const [id, secret] = ['web', '0123456789abcdefghij'];
const salt = randomBytes(16);
const stored = { salt, hash: await hash('tuesday fern lamp', salt, 32, cost) };
const users = new Map();
for (let number = 0; number < Number(process.env.PEERS_CALLERS); number += 1) {
  users.set(`user${number}`, { id: number, stored });
}
const accessTokens = new Map();
const refreshTokens = new Map();

const model = {
  getClient: async (clientId, clientSecret) =>
    clientId === id && clientSecret === secret ? { id, grants: ['password', 'refresh_token'] } : false,
  getUser: async (username, password) => {
    const user = users.get(username);
    if (!user) return false;
    const own = await hash(password, user.stored.salt, 32, cost);
    return timingSafeEqual(own, user.stored.hash) && user;
  },
  validateScope: async (user, client, scope) => scope ?? ['read'],
  saveToken: async (token, client, user) => {
    const saved = { ...token, client, user };
    accessTokens.set(token.accessToken, saved);
    refreshTokens.set(token.refreshToken, saved);
    return saved;
  },
  getAccessToken: async (token) => accessTokens.get(token),
  getRefreshToken: async (token) => refreshTokens.get(token),
  revokeToken: async (token) => refreshTokens.delete(token.refreshToken),
};

const server = new OAuth2Server({ model });
const app = express();
app.use(express.urlencoded({ extended: false }));
app.post('/token', async (request, response) => {
  const answer = new OAuth2Server.Response(response);
  try {
    await server.token(new OAuth2Server.Request(request), answer);
  } catch (error) {
    answer.body = { error: error.name };
    answer.status = error.code ?? 500;
  }
  response.set(answer.headers).status(answer.status).send(answer.body);
});
app.listen(Number(process.env.PEERS_PORT), '127.0.0.1');
