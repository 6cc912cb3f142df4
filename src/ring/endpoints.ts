/**
 * Every endpoint of Ring that we call, by the name that logs and metrics use: a closed list, whatever addresses Ring's
 * answers may send us to, and nothing in it is somebody's.
 */
export const ENDPOINTS = [
  'POST /oauth/token',
  'GET /v1/users/me',
  'POST /v1/accounts/me/app-integrations',
  'PATCH /v1/accounts/me/app-integrations',
  'GET /v1/accounts/me/subscriptions',
  'GET /v1/devices',
  'GET /v1/devices/{id}',
  'POST /v1/devices/{id}/media/image/download',
  'GET of a picture',
  'POST /v1/devices/{id}/media/streaming/whep/sessions',
  'DELETE /v1/devices/{id}/media/streaming/whep/sessions/{id}',
] as const;

export type Endpoint = (typeof ENDPOINTS)[number];
