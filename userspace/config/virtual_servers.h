// SPDX-License-Identifier: GPL-2.0
// The settings of a virtual server, as far as they can be looked at by themselves.
#pragma once

#include "config/object_reader.h"
#include "model/model.h"

namespace holdfast
{

// Where they are: of what is checked when all of the file is read (checks.h).
struct ServerPlaces {
	Place pool, persistence, port, server_first_wait, x_forwarded_for, forwarding, address, source_addresses,
		method;
	bool has_pool = false, has_persistence = false, has_protocol = false;
	bool has_forwarding = false; // and it serves the address
};

// All but the name.
VirtualServer read_virtual_server(ObjectReader &reader, ServerPlaces &places);

// In messages.
const char *family(bool ipv4);

} // namespace holdfast
