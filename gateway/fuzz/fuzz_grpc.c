/*
 * fuzz_grpc.c
 *		Messages of gRPC: any bytes; the object that is made of them is
 *		well-formed.
 */
#include <stdlib.h>
#include <string.h>

#include "dbparams.h"
#include "grpc.h"
#include "json.h"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool (*const read[]) (Bytes, GrpcRequest *) = {
		grpc_read_request, grpc_read_branch, grpc_read_topic
	};
	Bytes		message = {(const char *) data, size};
	Bytes		service;
	Bytes	   *elements;
	const char *problem;
	char	   *text = xstrndup(message.data, size);
	Buf			encoded = {0};
	int			n;

	for (int i = 0; i < 3; i++)
	{
		GrpcRequest request;
		JsonValue	object;

		if (read[i] (message, &request) &&
			(!json_read(request.object.data, request.object.len, &object) || object.type != JSON_OBJECT))
			abort();
		for (int j = 0; j < request.npayloads; j++)
			if (request.payloads[j].len > size)
				abort();
		grpc_free_request(&request);
	}
	(void) grpc_read_health(message, &service);
	(void) grpc_unframe(message.data, message.len, &service, &problem);
	(void) grpc_timeout(text);
	grpc_encode_message(&encoded, text);
	elements = array_read(message.data, message.len, &n);
	for (int i = 0; elements != NULL && i < n; i++)
		if (elements[i].len > size)
			abort();
	free(elements);
	buf_free(&encoded);
	free(text);
	return 0;
}
