/*
 * grpc.h
 *		What gRPC puts into HTTP/2: frames, messages of dtm's in protobuf,
 *		percent-encoded texts, time-outs (§4 of the wire specification).
 */
#ifndef GW_GRPC_H
#define GW_GRPC_H

#include "buf.h"

/* Status codes. */
#define GRPC_OK						0
#define GRPC_UNKNOWN				2
#define GRPC_INVALID_ARGUMENT		3
#define GRPC_DEADLINE_EXCEEDED		4
#define GRPC_NOT_FOUND				5
#define GRPC_PERMISSION_DENIED		7
#define GRPC_RESOURCE_EXHAUSTED		8
#define GRPC_FAILED_PRECONDITION	9
#define GRPC_ABORTED				10
#define GRPC_UNIMPLEMENTED			12
#define GRPC_INTERNAL				13
#define GRPC_UNAVAILABLE			14
#define GRPC_UNAUTHENTICATED		16

/* The one message of a request's body; else a status, and why in *problem. */
extern int	grpc_unframe(const char *body, size_t len, Bytes *message,
						 const char **problem);

/* Begins a message's frame, whose length grpc_end_frame() fills in. */
extern size_t grpc_begin_frame(Buf *out);
extern void grpc_end_frame(Buf *out, size_t begin);

/*
 * Bytes of a message: clients take no more than 8 kB of headers, some of them, and
 * a response with more has neither a status nor an end.
 */
#define GRPC_MAX_MESSAGE	2000

/* grpc-message: all but 0x20 to 0x7E, and %, as %XX; what is too long is cut. */
extern void grpc_encode_message(Buf *out, const char *message);

/* grpc-timeout in us; -1: malformed. */
extern int64_t grpc_timeout(const char *value);

/* A message as the extension wants it: an object, and payloads beside it. */
typedef struct GrpcRequest
{
	Buf			object;			/* JSON */
	Bytes	   *payloads;		/* npayloads of them, parts of the message */
	int			npayloads;
	Bytes		gid;			/* the same; for the order of requests */
} GrpcRequest;

/*
 * The messages of dtmgimp.  False: it is malformed.  Fields that are not known
 * are skipped: old clients send some.
 */
extern bool grpc_read_request(Bytes message, GrpcRequest *request);
extern bool grpc_read_branch(Bytes message, GrpcRequest *request);
extern bool grpc_read_topic(Bytes message, GrpcRequest *request);
extern void grpc_free_request(GrpcRequest *request);

/* grpc.health.v1: the service that is asked for. */
extern bool grpc_read_health(Bytes message, Bytes *service);

/* Replies. */
extern void grpc_write_gid(Buf *out, const char *gid);
extern void grpc_write_health(Buf *out, bool serving);

/*
 * DtmProgressesReply from what the extension answers: gid, status, reason,
 * result, then status, data, branch and op of each progress.
 */
extern void grpc_write_progresses(Buf *out, const Bytes *parts, int nparts);

#endif							/* GW_GRPC_H */
