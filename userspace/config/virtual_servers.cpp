// SPDX-License-Identifier: GPL-2.0
#include "config/virtual_servers.h"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include <tuple>

#include "config/rules.h"

namespace holdfast
{

namespace
{

// `80`, or `8000-8099`.
std::optional<std::pair<uint16_t, uint16_t>> parse_ports(const std::string &text)
{
	const char *end = text.data() + text.size();
	unsigned first = 0, last = 0;
	auto [after_first, status] = std::from_chars(text.data(), end, first);

	last = first;
	if (status == std::errc() && after_first != end && *after_first == '-') {
		auto [after_last, last_status] = std::from_chars(after_first + 1, end, last);

		status = last_status;
		after_first = after_last;
	}
	if (status != std::errc() || after_first != end || first < 1 || last > UINT16_MAX || first > last)
		return std::nullopt;
	return std::pair(static_cast<uint16_t>(first), static_cast<uint16_t>(last));
}

void read_port(ObjectReader &reader, VirtualServer &server)
{
	auto text = reader.text("port", true);

	if (!text)
		return;
	const auto ports = parse_ports(*text);
	if (ports)
		std::tie(server.first_port, server.last_port) = *ports;
	else
		reader.error(
			"port",
			fmt::format("'{}' is not a port or a range of ports; allowed: 1-65535, as in 80 or 8000-8099",
				    *text));
}

// What members see as clients.
void read_sources(ObjectReader &reader, VirtualServer &server, bool known)
{
	const std::vector<std::string> texts = reader.texts("source_addresses");

	for (const std::string &text : texts) {
		const auto address = Address::parse(text);

		if (!address || !address->is_unicast() || address->is_loopback())
			reader.error("source_addresses", fmt::format("'{}' is not an address that a host on a network "
								     "can have",
								     text));
		else if (std::find(server.source_addresses.begin(), server.source_addresses.end(), *address) !=
			 server.source_addresses.end())
			reader.error("source_addresses", fmt::format("{} is given twice", text));
		else if (known && server.address != Address() && address->is_ipv4() != has_ipv4_members(server))
			reader.error("source_addresses", fmt::format("{} is not of the members' family", text));
		else if (*address == server.address)
			reader.error("source_addresses", fmt::format("{} is the virtual server's own address", text));
		else
			server.source_addresses.push_back(*address);
	}
	if (auto text = reader.text("source_ports")) {
		if (const auto ports = parse_ports(*text))
			std::tie(server.lowest_source_port, server.highest_source_port) = *ports;
		else
			reader.error("source_ports",
				     fmt::format("'{}' is not a range of ports; allowed: 1-65535, as in "
						 "1024-65535",
						 *text));
	}
	if (!known)
		return; // it has had its error
	for (const char *key : {"source_addresses", "source_ports"}) {
		if (!has_sources(server.forwarding) && reader.has(key))
			reader.error(key,
				     fmt::format("belongs to forwarding fullnat, nat46 and nat64; with {} members see "
						 "the clients' own addresses",
						 word(server.forwarding)));
	}
	if (has_sources(server.forwarding) && !reader.has("source_addresses"))
		reader.error("source_addresses",
			     fmt::format("is required with forwarding {}: what members see as clients",
					 word(server.forwarding)));
	else if (has_sources(server.forwarding) && reader.is_empty_list("source_addresses"))
		reader.error("source_addresses", "is empty; at least one address is needed");
}

// False: it is not a mode, or not one for such clients.
bool read_forwarding(ObjectReader &reader, VirtualServer &server)
{
	const auto forwarding = reader.word<hf_forwarding>("forwarding", with_words(forwardings()), true);

	server.forwarding = forwarding.value_or(server.forwarding);
	if (server.address == Address() || serves_family(server.forwarding, server.address.is_ipv4()))
		return forwarding.has_value();
	reader.error("forwarding", fmt::format("'{}' is for {} clients: {} is an {} address", word(server.forwarding),
					       family(!server.address.is_ipv4()), server.address.text(),
					       family(server.address.is_ipv4())));
	return false;
}

// How TCP connections begin.
void read_opening(ObjectReader &reader, VirtualServer &server)
{
	server.syn_protection = reader.boolean("syn_protection").value_or(false);
	server.server_first = reader.boolean("server_first").value_or(false);
	if (auto wait = reader.integer("server_first_wait", 1, HF_SERVER_FIRST_WAIT_MAX))
		server.server_first_wait = static_cast<uint32_t>(*wait);
	server.x_forwarded_for = reader.boolean("x_forwarded_for").value_or(false);
	if (auto version = reader.word<uint8_t>("proxy_protocol", {{"none", 0}, {"v1", 1}, {"v2", 2}}))
		server.proxy_protocol = *version;
	for (const char *key :
	     {"syn_protection", "server_first", "server_first_wait", "proxy_protocol", "x_forwarded_for"}) {
		if (server.protocol == HF_PROTOCOL_UDP && reader.has(key))
			reader.error(key, "belongs to protocol tcp only");
	}
}

} // namespace

const char *family(bool ipv4)
{
	return ipv4 ? "IPv4" : "IPv6";
}

VirtualServer read_virtual_server(ObjectReader &reader, ServerPlaces &places)
{
	VirtualServer server;

	server.address = reader.address("address").value_or(Address());
	read_port(reader, server);
	const auto protocol =
		reader.word<hf_protocol>("protocol", {{"tcp", HF_PROTOCOL_TCP}, {"udp", HF_PROTOCOL_UDP}}, true);
	if (protocol)
		server.protocol = *protocol;
	server.persistence = reader.text("persistence").value_or("");
	const bool known = read_forwarding(reader, server);
	if (auto method = reader.word<hf_method>("method", with_words(methods())))
		server.method = *method;
	server.pool = reader.text("pool", true).value_or("");
	server.idle_timeout =
		server.protocol == HF_PROTOCOL_UDP ? HF_UDP_IDLE_TIMEOUT_DEFAULT : HF_TCP_IDLE_TIMEOUT_DEFAULT;
	if (auto timeout = reader.integer("idle_timeout", 1, HF_IDLE_TIMEOUT_MAX))
		server.idle_timeout = static_cast<uint32_t>(*timeout);
	read_opening(reader, server);
	read_sources(reader, server, known);
	server.own_addresses = reader.boolean("own_addresses").value_or(true);
	if (auto rate = reader.integer("new_sessions_per_second", 0, HF_SESSION_RATE_MAX))
		server.new_sessions_per_second = static_cast<uint32_t>(*rate);
	places = {reader.place("pool"),
		  reader.place("persistence"),
		  reader.place("port"),
		  reader.place("server_first_wait"),
		  reader.place("x_forwarded_for"),
		  reader.place("forwarding"),
		  reader.place("address"),
		  reader.place("source_addresses"),
		  reader.place("method"),
		  reader.has("pool"),
		  reader.has("persistence"),
		  protocol.has_value(),
		  known};
	return server;
}

} // namespace holdfast
