// Fastify and the AWS SDK for JavaScript v3, as their documentation shows; tests/bench/compare.py
// starts it. The answers are the services' own documents: the comparison holds them against each other.
import { createPublicKey, randomUUID } from "node:crypto";
import {
  BatchGetItemCommand,
  DynamoDBClient,
  GetItemCommand,
  QueryCommand,
  UpdateItemCommand,
} from "@aws-sdk/client-dynamodb";
import { GetObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";
import { marshall, unmarshall } from "@aws-sdk/util-dynamodb";
import { createVerifier } from "fast-jwt";
import Fastify from "fastify";

const { AWS_ENDPOINT_URL, AWS_REGION, BUCKET, CLIENT_ID, ISSUER, JWKS_URL, PORT } = process.env;
const OUTLINE_MS = 30_000;
const URL_SECONDS = 1200;

const dynamodb = new DynamoDBClient({ region: AWS_REGION, endpoint: AWS_ENDPOINT_URL });
const s3 = new S3Client({ region: AWS_REGION });

const { keys } = await (await fetch(JWKS_URL)).json();
const key = createPublicKey({ key: keys[0], format: "jwk" }).export({ type: "spki", format: "pem" });
// The cache of verified tokens is the package's own.
const verify = createVerifier({ key, algorithms: ["RS256"], allowedIss: ISSUER, cache: true });

// The package's own two lines of a request are left out for the one that the others write.
const app = Fastify({ logger: true, disableRequestLogging: true, genReqId: () => randomUUID() });

app.addHook("onRequest", async (request, reply) => {
  reply.header("X-Request-Id", request.id);
  if (request.url === "/readyz") return;
  const [scheme, token] = (request.headers.authorization ?? "").split(" ");
  try {
    if (scheme !== "Bearer") throw new Error("no token");
    const claims = verify(token);
    if (claims.client_id !== CLIENT_ID) throw new Error("another client's");
    request.sub = claims.sub;
  } catch {
    return reply.code(401).send({ code: "invalid_token" });
  }
});

app.addHook("onResponse", async (request, reply) => {
  request.log.info(
    {
      service: "peer",
      version: "0.0.0",
      requestId: request.id,
      method: request.method,
      route: request.routeOptions.url,
      sub: request.sub,
      status: reply.statusCode,
      durationMs: reply.elapsedTime,
    },
    "request",
  );
});

app.get("/readyz", async () => ({ status: "ready" }));

app.get("/courses/:courseId", async (request, reply) => {
  const { Item } = await dynamodb.send(
    new GetItemCommand({
      TableName: "CourseCatalog",
      Key: marshall({ courseId: request.params.courseId }),
      ConsistentRead: true,
    }),
  );
  if (!Item) return reply.code(404).send({ code: "course_not_found" });
  const item = unmarshall(Item);
  return {
    id: item.courseId,
    slug: item.slug,
    title: item.title,
    shortDescription: item.shortDescription,
    language: item.language,
    level: item.level,
    tags: item.tags,
    instructors: item.instructors,
    status: item.status,
    outlineVersion: item.outlineVersion,
    version: item.version,
    createdAt: item.createdAt,
    updatedAt: item.updatedAt,
    publishedAt: item.publishedAt ?? null,
    description: item.description,
    outline: item.outline,
  };
});

app.get("/content/:contentId", async (request, reply) => {
  const { Item } = await dynamodb.send(
    new GetItemCommand({
      TableName: "Content",
      Key: marshall({ contentId: request.params.contentId }),
      ConsistentRead: true,
    }),
  );
  const item = Item && unmarshall(Item);
  if (item?.status !== "ready") return reply.code(404).send({ code: "content_not_found" });
  const now = Date.now();
  const expiresAt = new Date(now + URL_SECONDS * 1000).toISOString();
  const original = {
    name: "original",
    contentType: item.contentType,
    sizeBytes: item.sizeBytes,
    etag: item.etag,
  };
  const [url, ...captionUrls] = await Promise.all([
    presign(item.objectKey, item.contentType, item.title),
    ...(item.captions ?? []).map((entry) => presign(entry.objectKey, "text/vtt", item.title)),
  ]);
  return {
    id: item.contentId,
    courseId: item.courseId,
    title: item.title,
    contentType: item.contentType,
    sizeBytes: item.sizeBytes,
    etag: item.etag,
    durationSeconds: item.durationSeconds ?? null,
    url,
    method: "GET",
    expiresAt,
    refreshAfter: new Date(now + URL_SECONDS * 800).toISOString(),
    renditions: [original, ...(item.renditions ?? [])].map((entry) => ({
      name: entry.name,
      contentType: entry.contentType,
      sizeBytes: entry.sizeBytes,
      etag: entry.etag,
      width: entry.width ?? null,
      height: entry.height ?? null,
    })),
    captions: (item.captions ?? []).map((entry, number) => ({
      language: entry.language,
      kind: entry.kind,
      url: captionUrls[number],
      expiresAt,
    })),
  };
});

app.get("/progress/:userId", async (request) => {
  const { Items } = await dynamodb.send(between(request.sub, "H#", "H#~", 101));
  const courses = new Map();
  for (const row of Items.map((item) => unmarshall(item))) {
    const [, courseId, kind] = row.sk.split("#");
    const found = courses.get(courseId) ?? {};
    found[kind] = row;
    courses.set(courseId, found);
  }
  const outlines = await known([...courses.keys()]);
  return {
    userId: request.sub,
    items: [...courses].map(([courseId, { c, r }]) => course(courseId, c, r, outlines.get(courseId))),
    nextCursor: null,
  };
});

const update = {
  body: {
    type: "object",
    required: ["occurredAt", "deviceId", "resume"],
    properties: {
      occurredAt: { type: "string" },
      deviceId: { type: "string", minLength: 1, maxLength: 64 },
      resume: {
        type: "object",
        required: ["contentId", "positionSeconds"],
        properties: {
          contentId: { type: "string", minLength: 1, maxLength: 64 },
          positionSeconds: { type: "number", minimum: 0 },
        },
      },
    },
  },
};

app.put("/progress/:userId/:courseId", { schema: update }, async (request) => {
  const { courseId } = request.params;
  const { occurredAt, deviceId, resume } = request.body;
  const [heads, contents, outlines] = await Promise.all([
    dynamodb.send(between(request.sub, `H#${courseId}#c`, `H#${courseId}#r`)),
    dynamodb.send(between(request.sub, `P#${courseId}#`, `P#${courseId}#~`)),
    known([courseId]),
  ]);
  const row = heads.Items.map((item) => unmarshall(item)).find((item) => item.sk.endsWith("#c"));
  const { Attributes } = await dynamodb.send(
    new UpdateItemCommand({
      TableName: "Progress",
      Key: marshall({ userId: request.sub, sk: `H#${courseId}#r` }),
      UpdateExpression: "SET #o = :o, #d = :d, #c = :c, #p = :p, #u = :u",
      ConditionExpression: "#a = :a AND (attribute_not_exists(#o) OR #o < :o)",
      ExpressionAttributeNames: {
        "#a": "attempt",
        "#o": "occurredAt",
        "#d": "deviceId",
        "#c": "contentId",
        "#p": "positionSeconds",
        "#u": "updatedAt",
      },
      ExpressionAttributeValues: marshall({
        ":a": row.attempt,
        ":o": occurredAt,
        ":d": deviceId,
        ":c": resume.contentId,
        ":p": resume.positionSeconds,
        ":u": new Date().toISOString(),
      }),
      ReturnValues: "ALL_NEW",
    }),
  );
  const rows = new Map(
    contents.Items.map((item) => unmarshall(item)).map((item) => [item.sk.split("#")[2], item]),
  );
  const completed = completions(row);
  const ids = [...new Set([...completed.keys(), ...rows.keys()])].sort();
  return {
    userId: request.sub,
    ...course(courseId, row, unmarshall(Attributes), outlines.get(courseId)),
    items: Object.fromEntries(ids.map((id) => [id, content(completed.get(id), rows.get(id))])),
  };
});

function between(userId, lowest, highest, limit) {
  return new QueryCommand({
    TableName: "Progress",
    KeyConditionExpression: "#userId = :userId AND #sk BETWEEN :lowest AND :highest",
    ExpressionAttributeNames: { "#userId": "userId", "#sk": "sk" },
    ExpressionAttributeValues: marshall({ ":userId": userId, ":lowest": lowest, ":highest": highest }),
    ConsistentRead: true,
    Limit: limit,
  });
}

const outlines = new Map();

async function known(courseIds) {
  const now = performance.now();
  const missing = courseIds.filter((id) => !(outlines.get(id)?.at > now - OUTLINE_MS));
  if (missing.length) {
    const { Responses } = await dynamodb.send(
      new BatchGetItemCommand({
        RequestItems: {
          Progress: {
            Keys: missing.map((id) => marshall({ userId: `~outline#${id}`, sk: "OUTLINE" })),
          },
        },
      }),
    );
    for (const item of Responses.Progress.map((found) => unmarshall(found))) {
      outlines.set(item.userId.replace("~outline#", ""), { at: now, item });
    }
  }
  return new Map(courseIds.map((id) => [id, outlines.get(id)?.item]));
}

function course(courseId, row, recent, outline) {
  const completed = completions(row);
  const counted = outline.items.filter((entry) => entry.required);
  const done = counted.filter((entry) => completed.has(entry.contentId)).length;
  return {
    courseId,
    status: "in_progress",
    percent: Math.floor((100 * done) / counted.length),
    completedCount: done,
    totalCount: counted.length,
    outlineVersion: outline.outlineVersion,
    newItemsSinceCompletion: null,
    resume: {
      contentId: recent.contentId,
      positionSeconds: recent.positionSeconds,
      occurredAt: recent.occurredAt,
    },
    startedAt: row.startedAt,
    completedAt: row.completedAt ?? null,
    updatedAt: row.updatedAt > recent.updatedAt ? row.updatedAt : recent.updatedAt,
    attempt: row.attempt,
  };
}

function completions(row) {
  return new Map(
    [...(row.completed ?? [])].map((member) => {
      const [contentId, milliseconds] = member.split("#");
      return [contentId, Number(milliseconds)];
    }),
  );
}

function content(completedAt, row) {
  return {
    completed: completedAt !== undefined,
    completedAt: completedAt === undefined ? null : new Date(completedAt).toISOString(),
    fraction: row?.fraction ?? null,
    positionSeconds: row?.positionSeconds ?? null,
    occurredAt: row?.occurredAt ?? null,
  };
}

function presign(objectKey, contentType, title) {
  const command = new GetObjectCommand({
    Bucket: BUCKET,
    Key: objectKey,
    ResponseContentType: contentType,
    ResponseContentDisposition: `inline; filename="${title}"`,
    ResponseCacheControl: `private, max-age=${URL_SECONDS}, immutable`,
  });
  return getSignedUrl(s3, command, { expiresIn: URL_SECONDS });
}

await app.listen({ host: "127.0.0.1", port: Number(PORT) });
for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, () => process.exit(0));
