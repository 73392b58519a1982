// SPDX-License-Identifier: GPL-2.0
// Real SIP (sipp) and RADIUS (FreeRADIUS) servers and clients in the lab.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "e2e/lab.h"

namespace holdfast::test
{

// The numbers of the last line of a sipp statistics file, by column.
std::map<std::string, long> read_sip_statistics(const std::string &file);

class SipServers
{
public:
	// One on each of the three servers, on port 5060.
	SipServers(Lab &lab, bool ipv4, bool tcp = false);

	// Of one column, by server, as of the last second.
	std::map<std::string, long> column(const std::string &name) const;
	long sum(const std::string &name) const;

private:
	const Lab &lab_;
	std::string files_; // what the names of its files begin with
};

// Runs `calls` calls to the virtual address, each of whose requests has a port of
// its own (over TCP: each call a connection). Returns sipp's numbers, with "status", its exit status.
std::map<std::string, long> make_sip_calls(const Lab &lab, bool ipv4, int calls, int rate, int client = 1,
					   bool tcp = false);

class RadiusServers
{
public:
	// One on each of the three servers, on ports 1812 and 1813.
	explicit RadiusServers(Lab &lab);

	// Which servers logged requests of a kind ("Access-Request") of each user.
	std::map<std::string, std::set<std::string>> seen(const std::string &kind) const;

private:
	const Lab &lab_;
};

// Sends a request of each user from one port; returns how many were answered.
int ask_radius(const Lab &lab, bool ipv4, const std::string &kind, const std::vector<std::string> &users,
	       const std::string &session = "");

} // namespace holdfast::test
